//! Maps whose results are iterated over as they come.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::caller::input::MapInput;
use crate::caller::outcome::decode;
use crate::caller::ranges::Ranges;
use crate::caller::window::Window;
use crate::error::{Error, ErrorKind, Result};
use crate::job::completion::Part;
use crate::task::Task;

/// An input that has not yielded enough for so long is slow.
const SLOW: Duration = Duration::from_millis(1);

/// How long a call that is to wait for nothing may pull input, if no item is out.
const GLANCE: Duration = Duration::from_micros(100);

/// A result that does not come for so long may be held back by its worker, which publishes it together with later ones. It
/// is looked for after this time, and then after longer and longer ones.
const STALL_MIN: Duration = Duration::from_millis(10);
const STALL_MAX: Duration = Duration::from_secs(1);

/// Results in the order of the input; made by [`Pool::imap`](crate::Pool::imap).
///
/// The input is pulled while results are waited for, in the thread that iterates. Making the iterator pulls nothing, and
/// a result that the pool has goes before the input's next item: so an input may depend on results. Its `next` should
/// not block for them, though: as long as it does, the results that come meanwhile wait, too.
///
/// At most 4096 items are pulled ahead; if the input is slow, no more than twice as many as there are workers; and no more
/// than make 64 MiB of arguments and results, by the sizes of the results so far, but always as many as there are workers.
///
/// A failed item is an `Err` at its place, and iteration goes on behind it. If the pool ends, each item that was pulled
/// and is not done is an `Err`; if the rest of the input was not pulled, there is one at least. Dropping the iterator
/// drops what no worker has begun.
#[must_use = "dropping it cancels what has not begun"]
pub struct Imap<T: Task, I>(LazyMap<T, I>);

/// Results in the order of completion; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Otherwise as [`Imap`].
#[must_use = "dropping it cancels what has not begun"]
pub struct ImapUnordered<T: Task, I>(LazyMap<T, I>);

struct LazyMap<T: Task, I> {
    feed: MapInput<T, I>,
    is_ordered: bool,
    window: Window,
    /// Decoded results, all of one part, and the bytes of it.
    ready: VecDeque<Result<T::Output>>,
    ready_bytes: usize,
    /// Parts that are not decoded: they wait for those before them, or for the results that are ready.
    parts: Vec<Part>,
    /// When workers are asked for what they hold back, and how long after the time before.
    stall: Option<(Instant, Duration)>,
    /// Items decoded.
    decoded: u64,
    /// Which these are, if they come in any order.
    arrived: Ranges,
    /// Items handed out.
    yielded: u64,
    has_ended: bool,
    /// The input takes its time, so it is asked only for what keeps the workers busy.
    is_slow: bool,
}

/// Why no input is pulled any more.
enum Pulled {
    /// There is something to hand out, or never will be.
    News,
    Enough,
    /// More items must not be pending.
    NoRoom,
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> LazyMap<T, I> {
    fn new(feed: MapInput<T, I>, is_ordered: bool) -> Self {
        LazyMap {
            feed,
            is_ordered,
            window: Window::new(T::output_size()),
            ready: VecDeque::new(),
            ready_bytes: 0,
            parts: Vec::new(),
            stall: None,
            decoded: 0,
            arrived: Ranges::default(),
            yielded: 0,
            has_ended: false,
            is_slow: false,
        }
    }

    #[inline]
    fn next(&mut self, deadline: Option<Instant>) -> Option<Result<T::Output>> {
        if let Some(result) = self.ready.pop_front() {
            self.yielded += 1;
            return Some(result);
        }
        self.next_part(deadline)
    }

    /// The next result when none is ready.
    fn next_part(&mut self, deadline: Option<Instant>) -> Option<Result<T::Output>> {
        while !self.has_ended {
            // Before the look at what there is: nothing comes after it.
            let is_finished = self.feed.completion.is_finished();
            self.take_in();
            if !self.ready.is_empty() {
                break;
            }
            if let Err(error) = self.feed.host.check_owner() {
                self.has_ended = true;
                return Some(Err(error));
            }
            if is_finished {
                self.end();
                continue;
            }
            let is_there = match self.pull(deadline) {
                Pulled::News => true,
                Pulled::Enough => self.wait(deadline, false),
                Pulled::NoRoom => self.wait(deadline, true),
            };
            if !is_there && self.feed.host.check_owner().is_ok() {
                let text = "no result yet; the next call will wait for the same item";
                return Some(Err(Error::new(ErrorKind::Timeout, text)));
            }
        }
        let result = self.ready.pop_front();
        match result {
            Some(_) => self.yielded += 1,
            None => self.feed.resume_panic(),
        }
        result
    }

    /// Waits for a result, or for room; false if the deadline comes first. If it takes long, it looks whether workers have
    /// results that they publish only with that of the item that they are at.
    fn wait(&mut self, deadline: Option<Instant>, or_room: bool) -> bool {
        loop {
            let (look_at, pause) = *self.stall.get_or_insert_with(|| (Instant::now() + STALL_MIN, STALL_MIN));
            let until = Some(deadline.map_or(look_at, |deadline| deadline.min(look_at)));
            let is_there = if or_room { self.feed.wait_or_room(until) } else { self.feed.wait(until) };
            let now = Instant::now();
            let MapInput { host, completion, .. } = &self.feed;
            if is_there || host.check_owner().is_err() {
                return is_there;
            }
            if now >= look_at {
                let pause = (2 * pause).min(STALL_MAX);
                self.stall = Some((now + pause, pause));
                host.take_finished(completion.job());
                if completion.has_news() {
                    return true;
                }
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return false;
            }
        }
    }

    /// Pulls input until there is something to hand out, or enough is out, or the deadline has come. If nothing is out,
    /// it pulls something in any case, since otherwise nothing would ever come.
    fn pull(&mut self, deadline: Option<Instant>) -> Pulled {
        let mut start = None;
        loop {
            let MapInput { host, completion, .. } = &self.feed;
            let (workers, room) = host.look();
            if completion.has_news() {
                return Pulled::News;
            }
            if self.feed.has_rest() {
                if room == 0 {
                    return Pulled::NoRoom;
                }
                self.feed.hand_over_rest();
                continue;
            }
            let wanted = self.window.room(self.feed.pulled() - self.yielded, workers, start.is_some());
            let is_busy = self.is_slow && self.window.out() >= 2 * workers;
            if self.feed.has_ended() || wanted == 0 || is_busy {
                return Pulled::Enough;
            }
            if room == 0 {
                return Pulled::NoRoom;
            }
            let now = Instant::now();
            let (start, until) = *start.get_or_insert_with(|| {
                let is_idle = self.window.out() == 0;
                (now, deadline.map(|deadline| if is_idle { deadline.max(now + GLANCE) } else { deadline }))
            });
            if until.is_some_and(|until| until <= now) {
                return Pulled::Enough;
            }
            self.is_slow = self.pull_block(wanted.min(room)) && start.elapsed() > SLOW;
        }
    }

    /// Pulls one block of at most so many items; true if the input is slow.
    fn pull_block(&mut self, items: u64) -> bool {
        let (pulled, bytes) = (self.feed.pulled(), self.feed.bytes());
        let is_slow = self.feed.pull_block(pulled + items);
        self.window.pulled(self.feed.pulled() - pulled, self.feed.bytes() - bytes);
        is_slow
    }

    /// Takes what has arrived, and decodes the next part. Nothing is ready.
    fn take_in(&mut self) {
        self.window.handed_out(std::mem::take(&mut self.ready_bytes));
        if !self.is_next_there() && self.feed.completion.has_news() {
            let before = self.parts.len();
            self.parts.extend(self.feed.completion.take());
            for Part { items, values, .. } in &self.parts[before..] {
                self.window.arrived(u64::from(*items), values.as_ref().ok().map(|bytes| bytes.len()));
            }
            match self.is_ordered {
                true => self.parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.first)),
                // The oldest of them is the last.
                false => self.parts.reverse(),
            }
        }
        if self.is_next_there()
            && let Some(part) = self.parts.pop()
        {
            self.decode(part);
        }
    }

    fn is_next_there(&self) -> bool {
        self.parts.last().is_some_and(|part| !self.is_ordered || part.first == self.decoded)
    }

    fn decode(&mut self, part: Part) {
        self.stall = None;
        self.decoded += u64::from(part.items);
        self.ready_bytes += part.values.as_ref().map_or(0, |bytes| bytes.len());
        if !self.is_ordered {
            self.arrived.add(part.first..part.first + u64::from(part.items));
        }
        let mut undecodable = 0;
        decode::<T>(part, true, |_, result| {
            undecodable += result.as_ref().err().map_or(0, Error::undecodable);
            self.ready.push_back(result);
        });
        self.feed.host.note_undecodable(undecodable);
    }

    /// The job has ended: for items that will never come, there is the reason.
    fn end(&mut self) {
        if !self.feed.has_ended() {
            // The pool has ended it. Only the input can tell whether that cuts anything off.
            self.feed.pull_refused();
        }
        self.has_ended = true;
        let why = self.feed.completion.rest().unwrap_or_else(|| {
            let text = "the pool was closed and joined before a worker had it; take the results before joining";
            Error::new(ErrorKind::Closed, text)
        });
        let absent = |item: u64| Err(why.duplicate().of_item(Some(item as usize)));
        while let Some(part) = self.parts.pop() {
            if self.is_ordered {
                self.ready.extend((self.decoded..part.first).map(absent));
                self.decoded = part.first;
            }
            self.decode(part);
        }
        match self.is_ordered {
            true => self.ready.extend((self.decoded..self.feed.pulled()).map(absent)),
            false => self.ready.extend(self.arrived.missing(self.feed.pulled()).map(absent)),
        }
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
            pub(crate) fn new(feed: MapInput<T, I>) -> Self {
                $name(LazyMap::new(feed, $is_ordered))
            }

            /// The next result, if it comes within `limit`; else `Some` error of kind [`ErrorKind::Timeout`], and the
            /// next call waits for the same result. `None` after the end.
            ///
            /// Input is pulled as long as the limit allows; the pool cannot know how long the input's `next` will take,
            /// and does not interrupt it. A limit of zero only looks: it pulls nothing while an item is out. If none
            /// is, it pulls what comes within 0.1 ms, but one item at least, so that who always asks so gets all results.
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
