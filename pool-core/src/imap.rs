//! Maps whose results are iterated over as they come.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::feed::Feed;
use crate::outcome::decode;
use crate::ranges::Ranges;
use crate::slot::Part;
use crate::task::Task;

/// Items that may be pulled and not yet handed out: enough to keep the workers busy, and all that an endless input
/// costs.
const WINDOW: u64 = 4096;

/// An input whose window is not full after this time is slow. Longer than a busy machine takes this thread's CPU away:
/// what is not pulled when the pool is closed and joined is lost.
const SLOW: Duration = Duration::from_millis(50);

/// Results in the order of the input; made by [`Pool::imap`](crate::Pool::imap).
///
/// The input is pulled as the results are, in the thread that iterates: at most some thousand items ahead, and if it is
/// slow, not many more than there are workers. A failed item is an `Err` at its place,
/// and iteration goes on behind it. Dropping the iterator drops what no worker has begun.
#[must_use = "dropping it cancels what has not begun"]
pub struct Imap<T: Task, I>(Stream<T, I>);

/// Results in the order of completion; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Otherwise as [`Imap`].
#[must_use = "dropping it cancels what has not begun"]
pub struct ImapUnordered<T: Task, I>(Stream<T, I>);

struct Stream<T: Task, I> {
    feed: Feed<T, I>,
    is_ordered: bool,
    ready: VecDeque<Result<T::Output>>,
    /// Parts that have overtaken others.
    early: Vec<Part>,
    /// Items decoded.
    decoded: u64,
    /// Which these are.
    arrived: Ranges,
    /// Items handed out.
    yielded: u64,
    has_ended: bool,
    /// The input takes its time, so it is pulled only when there is nothing else to do.
    is_slow: bool,
    /// Items out, of a slow input, that keep the workers busy.
    enough: u64,
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Stream<T, I> {
    fn new(feed: Feed<T, I>, is_ordered: bool) -> Self {
        let mut stream = Stream {
            feed,
            is_ordered,
            ready: VecDeque::new(),
            early: Vec::new(),
            decoded: 0,
            arrived: Ranges::default(),
            yielded: 0,
            has_ended: false,
            is_slow: false,
            enough: 0,
        };
        stream.enough = 2 * stream.feed.shared.with(|engine| engine.scheduler.workers()) as u64;
        stream.refill(Some(Instant::now()));
        stream
    }

    /// Pulls input: the whole window of a fast one. Of a slow one until there is something to hand out, or the workers
    /// have enough, or the deadline has come, and one item at least.
    fn refill(&mut self, deadline: Option<Instant>) {
        let most = self.yielded + WINDOW;
        let start = Instant::now();
        while self.feed.pulled() < most && !self.feed.has_ended() && self.feed.shared.check_owner().is_ok() {
            self.is_slow = self.feed.pull_block(most) && start.elapsed() > SLOW;
            if self.is_slow {
                self.take_in();
                let out = self.feed.pulled() - self.decoded;
                let is_time = deadline.is_some_and(|deadline| deadline <= Instant::now());
                if !self.ready.is_empty() || out >= self.enough || is_time {
                    return;
                }
            }
        }
    }

    fn next(&mut self, deadline: Option<Instant>) -> Option<Result<T::Output>> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.yielded += 1;
                // In steps, so that blocks do not shrink to single items.
                if !self.is_slow && self.feed.pulled() < self.yielded + WINDOW / 2 {
                    self.refill(None);
                }
                return Some(result);
            }
            if self.has_ended {
                return None;
            }
            if let Err(error) = self.feed.shared.check_owner() {
                // A copy of the host must not lock the slot.
                self.has_ended = true;
                return Some(Err(error));
            }
            let is_finished = self.feed.slot.is_finished();
            self.take_in();
            if self.ready.is_empty() && self.is_slow && self.feed.pulled() - self.decoded < self.enough {
                self.refill(deadline);
            }
            if !self.ready.is_empty() {
                continue;
            }
            if is_finished {
                self.end();
            } else if !self.feed.wait(deadline) {
                if let Err(error) = self.feed.shared.check_owner() {
                    self.has_ended = true;
                    return Some(Err(error));
                }
                return Some(Err(Error::new(
                    ErrorKind::Timeout,
                    "no result yet; the next call will wait for the same item",
                )));
            }
        }
    }

    fn take_in(&mut self) {
        self.early.extend(self.feed.slot.take());
        if self.is_ordered {
            self.early.sort_unstable_by_key(|part| std::cmp::Reverse(part.first));
        }
        while self.early.last().is_some_and(|part| !self.is_ordered || part.first == self.decoded) {
            let part = self.early.pop().expect("looked at above");
            self.hand_out(part);
        }
    }

    fn hand_out(&mut self, part: Part) {
        self.decoded += u64::from(part.items);
        self.arrived.add(part.first..part.first + u64::from(part.items));
        let mut undecodable = 0;
        decode::<T>(part, true, |_, result| {
            undecodable += result.as_ref().err().map_or(0, Error::undecodable);
            self.ready.push_back(result);
        });
        self.feed.shared.note_undecodable(undecodable);
    }

    /// The job has ended: for items that will never come, there is the reason.
    fn end(&mut self) {
        self.has_ended = true;
        if let Some(why) = self.feed.slot.rest() {
            let absent = |item: u64| Err(why.duplicate().of_item(Some(item as usize)));
            // Of those that have come in order, some may stand behind others that never will.
            while let Some(part) = self.early.pop() {
                self.ready.extend((self.decoded..part.first).map(absent));
                self.decoded = part.first;
                self.hand_out(part);
            }
            let before = self.ready.len();
            match self.is_ordered {
                true => self.ready.extend((self.decoded..self.feed.pulled()).map(absent)),
                false => self.ready.extend(self.arrived.missing(self.feed.pulled()).map(absent)),
            }
            if self.feed.was_refused() && self.ready.len() == before {
                self.ready.push_back(Err(why));
            }
        } else if self.feed.was_refused() {
            let text = "the pool was closed and joined before the rest of the input was pulled";
            self.ready.push_back(Err(Error::new(ErrorKind::Closed, text)));
        }
        self.feed.resume_panic();
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.has_ended {
            return (self.ready.len(), Some(self.ready.len()));
        }
        let pending = (self.feed.pulled() - self.yielded) as usize;
        let (_, most) = self.feed.size_hint();
        // More will come, unless the pool is closed and joined before.
        (self.ready.len(), most.and_then(|most| most.checked_add(pending)))
    }
}

macro_rules! iterators {
    ($($name:ident, $is_ordered:literal;)*) => {$(
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $name<T, I> {
            pub(crate) fn new(feed: Feed<T, I>) -> Self {
                $name(Stream::new(feed, $is_ordered))
            }

            /// The next result, if it comes within `limit`; else `Some` error of kind [`ErrorKind::Timeout`], and the
            /// next call waits for the same result. A limit of zero only looks. `None` after the end.
            pub fn next_timeout(&mut self, limit: Duration) -> Option<Result<T::Output>> {
                // A limit that no clock can hold is none.
                self.0.next(Instant::now().checked_add(limit))
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Iterator for $name<T, I> {
            type Item = Result<T::Output>;

            fn next(&mut self) -> Option<Self::Item> {
                self.0.next(None)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> std::iter::FusedIterator for $name<T, I> {}

        impl<T: Task, I> fmt::Debug for $name<T, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("yielded", &self.0.yielded).finish_non_exhaustive()
            }
        }
    )*};
}
iterators! { Imap, true; ImapUnordered, false; }
