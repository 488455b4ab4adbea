//! Maps whose results are iterated over as they come.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::caller::input::MapInput;
use crate::caller::job_input::JobInput;
use crate::caller::outcome::decode;
use crate::caller::ranges::Ranges;
use crate::caller::window::Window;
use crate::error::{Error, ErrorKind, Result};
use crate::job::completion::Part;
use crate::task::Task;

/// An input is slow if its block takes longer than this to fill.
const SLOW: Duration = Duration::from_millis(1);

/// The time for which a call with a limit of zero may pull input, if no item is out.
const GLANCE: Duration = Duration::from_micros(100);

/// A worker publishes several results together, so a result that does not come may be held back by a later item that takes
/// long. The host then takes it out of the worker's memory: first after this time, then after longer and longer times.
const STALL_MIN: Duration = Duration::from_millis(10);
const STALL_MAX: Duration = Duration::from_secs(1);

/// Results in the order of the input; made by [`Pool::imap`](crate::Pool::imap).
///
/// The thread that iterates pulls the input, while it waits for results. Making the iterator pulls nothing, and a result
/// that has come is handed out before the input's next item is pulled: so an input may depend on earlier results. Its
/// `next` should not block until a result comes, though: no result is handed out while it blocks.
///
/// At most 4096 items are out: pulled, and their results not handed out. They are fewer if the input is slow (twice as many
/// as there are workers), and if their arguments and results make more than 64 MiB, by the sizes of the results so far
/// (but always as many as there are workers).
///
/// A failed item is an `Err` at its place, and iteration goes on behind it. If the pool ends, each item that was pulled
/// and is not done is an `Err`, and a rest of the input that was not pulled is one more. Dropping the iterator drops the
/// items that no worker has begun.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn half(x: u64) -> u64 { assert!(x % 2 == 0, "odd"); x / 2 }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let mut failures = Vec::new();
/// let mut halves = Vec::new();
/// for result in pool.imap(half::Task, 0..6)? {
///     match result {
///         Ok(half) => halves.push(half),
///         Err(error) => failures.extend(error.item()),
///     }
/// }
/// assert_eq!((halves, failures), (vec![0, 1, 2], vec![1, 3, 5]));
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels what has not begun"]
pub struct Imap<T: Task, I>(LazyMap<T, I>);

/// Results in the order of completion; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Otherwise as [`Imap`]. An [`Error`] names its item; for values that are wanted with their item, let the task return it.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let order: Vec<u64> = pool.imap_unordered(nap::Task, [500, 1])?.collect::<Result<_, _>>()?;
/// assert_eq!(order, [1, 500]);
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels what has not begun"]
pub struct ImapUnordered<T: Task, I>(LazyMap<T, I>);

struct LazyMap<T: Task, I> {
    input: MapInput<T, I>,
    is_ordered: bool,
    window: Window,
    /// Decoded results of one part.
    ready: VecDeque<Result<T::Output>>,
    /// Bytes of that part.
    ready_bytes: usize,
    /// Parts that are not decoded: they wait for those before them, or until the results that are ready are handed out.
    parts: Vec<Part>,
    /// When the host next looks for results that workers hold back, and the pause before that look.
    stall: Option<(Instant, Duration)>,
    /// Items decoded.
    decoded: u64,
    /// The items decoded, if they come in any order.
    arrived: Ranges,
    /// Items handed out.
    yielded: u64,
    has_ended: bool,
    /// The input is slow, so only as many items are pulled as keep the workers busy.
    is_slow: bool,
}

/// Why pulling stopped.
enum Pulled {
    /// A result has come, or the job has ended.
    News,
    Enough,
    /// The pool's `max_pending` allows no more.
    NoRoom,
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> LazyMap<T, I> {
    fn new(input: MapInput<T, I>, is_ordered: bool) -> Self {
        LazyMap {
            input,
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
            // Asked before the results are looked at: if it is finished now, that look sees all of them.
            let is_finished = self.input.completion.is_finished();
            self.take_in();
            if !self.ready.is_empty() {
                break;
            }
            if let Err(error) = self.input.host.check_owner() {
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
            if !is_there && self.input.host.check_owner().is_ok() {
                let text = "no result yet; the next call will wait for the same item";
                return Some(Err(Error::new(ErrorKind::Timeout, text)));
            }
        }
        let result = self.ready.pop_front();
        match result {
            Some(_) => self.yielded += 1,
            None => self.input.resume_panic(),
        }
        result
    }

    /// Waits for a result, or for room; false if the deadline comes first. If it takes long, it takes results that workers
    /// have finished and hold back.
    fn wait(&mut self, deadline: Option<Instant>, or_room: bool) -> bool {
        loop {
            let (look_at, pause) = *self.stall.get_or_insert_with(|| (Instant::now() + STALL_MIN, STALL_MIN));
            let until = Some(deadline.map_or(look_at, |deadline| deadline.min(look_at)));
            let is_there = if or_room { self.input.wait_or_room(until) } else { self.input.wait(until) };
            let now = Instant::now();
            let JobInput { host, completion, .. } = &*self.input;
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

    /// Pulls input until a result has come, or enough is out, or the deadline has passed. If nothing is out it pulls at
    /// least one item, since otherwise no result would ever come.
    fn pull(&mut self, deadline: Option<Instant>) -> Pulled {
        let mut start = None;
        loop {
            let JobInput { host, completion, .. } = &*self.input;
            let (workers, room) = host.look();
            if completion.has_news() {
                return Pulled::News;
            }
            if self.input.has_rest() {
                if room == 0 {
                    return Pulled::NoRoom;
                }
                self.input.hand_over_rest();
                continue;
            }
            let wanted = self.window.room(self.input.pulled() - self.yielded, workers, start.is_some());
            let is_busy = self.is_slow && self.window.out() >= 2 * workers;
            if self.input.has_ended() || wanted == 0 || is_busy {
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
        let (pulled, bytes) = (self.input.pulled(), self.input.bytes());
        let is_slow = self.input.pull_block(pulled + items);
        self.window.pulled(self.input.pulled() - pulled, self.input.bytes() - bytes);
        is_slow
    }

    /// Takes the parts that have arrived, and decodes the next one. Called when no result is ready.
    fn take_in(&mut self) {
        self.window.handed_out(std::mem::take(&mut self.ready_bytes));
        if !self.is_next_there() && self.input.completion.has_news() {
            let before = self.parts.len();
            self.parts.extend(self.input.completion.take());
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
        decode::<T>(part, true, &mut |_, result| {
            undecodable += result.as_ref().err().map_or(0, Error::undecodable);
            self.ready.push_back(result);
        });
        self.input.host.note_undecodable(undecodable);
    }

    /// The job has ended: each item that will never come gets the reason as its error.
    fn end(&mut self) {
        if !self.input.has_ended() {
            // The pool has ended the job. Only the input can tell whether items are lost by that.
            self.input.pull_refused();
        }
        self.has_ended = true;
        let why = self.input.completion.rest().unwrap_or_else(|| {
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
            true => self.ready.extend((self.decoded..self.input.pulled()).map(absent)),
            false => self.ready.extend(self.arrived.missing(self.input.pulled()).map(absent)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.has_ended {
            return (self.ready.len(), Some(self.ready.len()));
        }
        let pending = (self.input.pulled() - self.yielded) as usize;
        let (_, most) = self.input.size_hint();
        // No lower bound for the input: the pool may be closed and joined before it is pulled.
        (self.ready.len(), most.and_then(|most| most.checked_add(pending)))
    }
}

macro_rules! iterators {
    ($($name:ident, $method:literal, $is_ordered:literal;)*) => {$(
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $name<T, I> {
            pub(crate) fn new(input: MapInput<T, I>) -> Self {
                $name(LazyMap::new(input, $is_ordered))
            }

            /// The next result, if it comes within `limit`; else `Some` error of kind [`ErrorKind::Timeout`], and the
            /// next call waits for the same result. `None` after the end.
            ///
            /// Input is pulled as long as the limit allows; the pool cannot know how long the input's `next` will take,
            /// and does not interrupt it. A limit of zero only looks: it pulls nothing while an item is out. If none
            /// is, it pulls for 0.1 ms, at least one item, so that repeated calls with a limit of zero get all results.
            ///
            /// # Examples
            ///
            /// ```
            /// # use pool_core::prelude::*;
            /// # #[pool_task]
            /// # fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(1)?;
            #[doc = concat!("let mut naps = pool.", $method, "(nap::Task, [200])?;")]
            /// let early = naps.next_timeout(Duration::from_millis(1)).unwrap();
            /// assert_eq!(early.unwrap_err().kind(), ErrorKind::Timeout);
            /// assert_eq!(naps.next_timeout(Duration::from_secs(60)).transpose()?, Some(200));
            /// assert!(naps.next_timeout(Duration::from_secs(60)).is_none());
            /// # Ok(()) }
            /// ```
            pub fn next_timeout(&mut self, limit: Duration) -> Option<Result<T::Output>> {
                // A limit too large for the clock means no limit.
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
iterators! { Imap, "imap", true; ImapUnordered, "imap_unordered", false; }
