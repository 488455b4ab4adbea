//! A lazy map: its input is pulled while its results are taken. Decides how far it looks ahead, and the order of the results.

use std::collections::VecDeque;
use std::ops::Range;
#[cfg(feature = "stream")]
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::caller::feed::Feed;
use crate::caller::input::MapInput;
use crate::caller::outcome::decode;
use crate::caller::ranges::Ranges;
use crate::caller::window::Window;
use crate::error::{Error, ErrorKind, Result};
use crate::job::batch::CompletionRef;
use crate::job::completion::Part;
use crate::job::origin::Origin;
use crate::task::Task;

/// An input is slow if its block takes longer than this to fill.
const SLOW: Duration = Duration::from_millis(1);

/// The time for which a call with a limit of zero may pull input, if no item is out.
const GLANCE: Duration = Duration::from_micros(100);

/// A worker publishes several results together, so a result that does not come may be held back by a later item that takes
/// long. The host then takes it out of the worker's memory: first after this time, then after longer and longer times.
const STALL_MIN: Duration = Duration::from_millis(10);
const STALL_MAX: Duration = Duration::from_secs(1);

/// A map that pulls its input while its results are taken.
pub(crate) struct LazyMap<T: Task, I> {
    input: MapInput<T, I>,
    is_ordered: bool,
    window: Window,
    /// Decoded results of one part.
    ready: VecDeque<Result<T::Output>>,
    /// The items of these results, with some that were handed out before them.
    ready_items: Vec<Range<u64>>,
    /// The details of these results, if they are asked for.
    details: Option<VecDeque<Detail>>,
    /// Bytes of that part.
    ready_bytes: usize,
    /// Parts that are not decoded: they wait for those before them, or until the results that are ready are handed out.
    parts: Vec<Part>,
    /// The time of the host's next look for results that workers hold back, and the pause before it.
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

impl<T: Task, I> LazyMap<T, I> {
    pub(crate) fn completion(&self) -> &CompletionRef {
        &self.input.feed.completion
    }

    /// Items handed out.
    pub(crate) fn yielded(&self) -> u64 {
        self.yielded
    }
}

/// A result's item, and its origin if that is known.
pub(crate) struct Detail {
    pub(crate) item: u64,
    pub(crate) origin: Option<Box<Origin>>,
}

/// A result with its detail; there is none beside an error that is no item's.
pub(crate) type WithDetail<R> = (Option<Detail>, Result<R>);

/// The point that a step has come to.
enum Step<R> {
    /// To the next result, or to the end.
    Yield(Option<Result<R>>),
    /// A result must come first.
    Wait,
    /// A result, or room for more items, must come first.
    WaitForRoom,
}

/// The reason for which pulling stopped.
enum Pulled {
    /// A result has come, or the job has ended.
    News,
    Enough,
    /// The pool's `max_pending` allows no more.
    NoRoom,
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> LazyMap<T, I> {
    pub(crate) fn new(input: MapInput<T, I>, is_ordered: bool, prefetch: Option<usize>) -> Self {
        let pool_bytes = input.feed.host.max_pending_bytes();
        LazyMap {
            input,
            is_ordered,
            window: Window::new(T::output_size()).with_limits(prefetch, pool_bytes),
            ready: VecDeque::new(),
            ready_items: Vec::new(),
            details: None,
            ready_bytes: 0,
            parts: Vec::new(),
            // No timer before the first wait: most results are there when they are asked for.
            stall: None,
            decoded: 0,
            arrived: Ranges::default(),
            yielded: 0,
            has_ended: false,
            is_slow: false,
        }
    }

    #[inline]
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Option<Result<T::Output>> {
        if let Some(result) = self.ready.pop_front() {
            self.yielded += 1;
            return Some(result);
        }
        // The thread does something else next, and others must not wait in line behind it.
        let result = self.next_part(deadline);
        self.input.feed.leave_line();
        result
    }

    /// The next result when none is ready.
    fn next_part(&mut self, deadline: Option<Instant>) -> Option<Result<T::Output>> {
        loop {
            let for_room = match self.step(deadline) {
                Step::Yield(result) => return result,
                Step::Wait => false,
                Step::WaitForRoom => true,
            };
            if !self.wait(deadline, for_room) && self.input.feed.host.check_owner().is_ok() {
                let text = "no result yet; the next call will wait for the same item";
                return Some(Err(Error::new(ErrorKind::Timeout, text)));
            }
        }
    }

    /// Goes on as far as that is possible without waiting: takes in the results that have come, and pulls input.
    fn step(&mut self, deadline: Option<Instant>) -> Step<T::Output> {
        while !self.has_ended {
            // Read before the parts are taken: nothing comes after the end.
            let is_finished = self.input.feed.completion.is_finished();
            self.take_in();
            // Results go before the end and before errors: they have been paid for.
            if !self.ready.is_empty() {
                break;
            }
            if let Err(error) = self.input.feed.host.check_owner() {
                self.has_ended = true;
                return Step::Yield(Some(Err(error)));
            }
            if is_finished {
                self.end();
                continue;
            }
            match self.pull(deadline) {
                Pulled::News => {}
                Pulled::Enough => return Step::Wait,
                Pulled::NoRoom => return Step::WaitForRoom,
            }
        }
        let result = self.ready.pop_front();
        match result {
            Some(_) => self.yielded += 1,
            None => self.input.feed.resume_panic(),
        }
        Step::Yield(result)
    }

    /// Waits for a result, or for room; false if the deadline comes first. If it takes long, it takes results that workers
    /// have finished and hold back.
    fn wait(&mut self, deadline: Option<Instant>, or_room: bool) -> bool {
        loop {
            let (look_at, pause) = *self.stall.get_or_insert_with(|| (Instant::now() + STALL_MIN, STALL_MIN));
            // The pause ends the sleep, so that results that workers hold back are found.
            let until = Some(deadline.map_or(look_at, |deadline| deadline.min(look_at)));
            let is_there =
                if or_room { self.input.feed.wait_for_turn(until, true) } else { self.input.feed.wait(until) };
            let now = Instant::now();
            let Feed { host, completion, .. } = &self.input.feed;
            // A copy of the host would wait for ever.
            if is_there || host.check_owner().is_err() {
                return is_there;
            }
            if now >= look_at {
                let pause = (2 * pause).min(STALL_MAX);
                self.stall = Some((now + pause, pause));
                host.take_finished(completion.job());
                // Found by this look, which no waiter is told of.
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
            let (workers, room) = self.input.feed.look();
            // Before anything is pulled: a result that has come goes first, so an input may depend on it.
            if self.input.feed.completion.has_news() {
                return Pulled::News;
            }
            if self.input.feed.has_rest() {
                self.input.hand_over_rest();
                if self.input.feed.has_rest() {
                    return Pulled::NoRoom;
                }
                // The rest is with the scheduler, so the room has to be asked again.
                continue;
            }
            let wanted = self.window.room(self.input.feed.pulled() - self.yielded, workers, start.is_some());
            // Pulling from a slow input keeps results waiting, so it is done only to keep workers busy.
            let is_busy = self.is_slow && self.window.out() >= 2 * workers;
            if self.input.feed.has_ended() || wanted == 0 || is_busy {
                return Pulled::Enough;
            }
            if room == 0 {
                return Pulled::NoRoom;
            }
            let now = Instant::now();
            let (start, until) = *start.get_or_insert_with(|| {
                // With nothing out a limit of zero would never pull, and polling with it would never end.
                let is_idle = self.window.out() == 0;
                (now, deadline.map(|deadline| if is_idle { deadline.max(now + GLANCE) } else { deadline }))
            });
            // Asked between blocks: the user's iterator cannot be interrupted within one.
            if until.is_some_and(|until| until <= now) {
                return Pulled::Enough;
            }
            self.is_slow = self.pull_block(wanted.min(room)) && start.elapsed() > SLOW;
        }
    }

    /// Pulls one block of at most so many items; true if the input is slow.
    fn pull_block(&mut self, items: u64) -> bool {
        let (pulled, bytes) = (self.input.feed.pulled(), self.input.feed.bytes());
        let is_slow = self.input.pull_block(pulled + items);
        self.window.pulled(self.input.feed.pulled() - pulled, self.input.feed.bytes() - bytes);
        is_slow
    }

    /// Takes the parts that have arrived, and decodes the next one. Called when no result is ready.
    fn take_in(&mut self) {
        // The last part has been handed out whole, since none of it is ready.
        self.window.handed_out(std::mem::take(&mut self.ready_bytes));
        if !self.is_next_there() && self.input.feed.completion.has_news() {
            let before = self.parts.len();
            self.parts.extend(self.input.feed.completion.take());
            for Part { items, values, .. } in &self.parts[before..] {
                self.window.arrived(u64::from(*items), values.as_ref().ok().map(|bytes| bytes.len()));
            }
            match self.is_ordered {
                // In reverse, so that the next one is popped from the end.
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

    fn decode(&mut self, mut part: Part) {
        let indices = part.indices();
        self.note_items(indices, part.origin.take());
        // A result has come, so the pause starts anew with the next wait.
        self.stall = None;
        self.decoded += u64::from(part.items);
        self.ready_bytes += part.values.as_ref().map_or(0, |bytes| bytes.len());
        // An ordered map needs no set: all items before `decoded` have come.
        if !self.is_ordered {
            self.arrived.add(part.indices());
        }
        let mut undecodable = 0;
        decode::<T>(part, true, &mut |_, result| {
            undecodable += result.as_ref().err().map_or(0, Error::undecodable);
            self.ready.push_back(result);
        });
        // The items had counted as successes when their bytes came.
        self.input.feed.host.note_undecodable(undecodable);
    }

    /// The job has ended: each item that will never come gets the reason as its error.
    fn end(&mut self) {
        if !self.input.feed.has_ended() {
            // The pool has ended the job. Only the input can tell whether items are lost by that.
            // An iterator that had nothing more has lost nothing, and its map ends without an error.
            self.input.pull_refused();
        }
        self.has_ended = true;
        let why = self.input.feed.completion.rest().unwrap_or_else(|| {
            let text = "the pool was closed and joined before a worker had it; take the results before joining";
            Error::new(ErrorKind::Closed, text)
        });
        while let Some(part) = self.parts.pop() {
            if self.is_ordered {
                self.fail_absent(self.decoded..part.first, &why);
                self.decoded = part.first;
            }
            self.decode(part);
        }
        match self.is_ordered {
            true => self.fail_absent(self.decoded..self.input.feed.pulled(), &why),
            false => {
                let missing: Vec<_> = self.arrived.missing(self.input.feed.pulled()).collect();
                missing.into_iter().for_each(|item| self.fail_absent(item..item + 1, &why));
            }
        }
    }

    fn fail_absent(&mut self, items: Range<u64>, why: &Error) {
        self.note_items(items.clone(), None);
        self.ready.extend(items.map(|item| Err(why.duplicate().of_item(Some(item as usize)))));
    }

    /// The results of these items are about to be ready.
    fn note_items(&mut self, items: Range<u64>, mut origin: Option<Box<Origin>>) {
        if self.ready.is_empty() {
            // Kept only for results that are ready, in case that details are asked for later.
            self.ready_items.clear();
        }
        if let Some(details) = &mut self.details {
            // A part with an origin holds one item, so the origin goes to the first.
            details.extend(items.clone().map(|item| Detail { item, origin: origin.take() }));
        }
        self.ready_items.push(items);
    }

    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        if self.has_ended {
            return (self.ready.len(), Some(self.ready.len()));
        }
        // Items that are out still yield a result each, whatever becomes of the input.
        let pending = (self.input.feed.pulled() - self.yielded) as usize;
        let (_, most) = self.input.size_hint();
        // No lower bound for the input: the pool may be closed and joined before it is pulled.
        (self.ready.len(), most.and_then(|most| most.checked_add(pending)))
    }

    /// Asks for the details of all results from now on.
    pub(crate) fn ask_details(&mut self) {
        self.input.feed.ask_times();
        let items: Vec<u64> = self.ready_items.iter().cloned().flatten().collect();
        let left = items[items.len() - self.ready.len()..].iter();
        self.details = Some(left.map(|&item| Detail { item, origin: None }).collect());
    }

    /// As [`next`](LazyMap::next), with the detail; there is none beside an error that is no item's.
    pub(crate) fn next_detailed(&mut self, deadline: Option<Instant>) -> Option<WithDetail<T::Output>> {
        let result = self.next(deadline)?;
        Some((self.take_detail(), result))
    }

    fn take_detail(&mut self) -> Option<Detail> {
        self.details.as_mut()?.pop_front()
    }

    /// Pulls no more input.
    pub(crate) fn stop_input(&mut self) {
        self.input.stop();
    }
}

#[cfg(feature = "stream")]
impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> LazyMap<T, I> {
    /// Prepares the map for being [polled](LazyMap::poll): nothing else will look for its replies.
    pub(crate) fn prepare_to_poll(&self) {
        if self.input.feed.host.check_owner().is_ok() {
            self.input.feed.host.announce(self.input.feed.completion.job());
        }
    }

    /// As [`next`](LazyMap::next) for a future: the waker is woken when it is worth to poll again.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Option<Result<T::Output>>> {
        if let Some(result) = self.ready.pop_front() {
            self.yielded += 1;
            return Poll::Ready(Some(result));
        }
        loop {
            let for_room = match self.step(None) {
                Step::Yield(result) => {
                    // The task does something else now, and others shall not wait for it.
                    self.input.feed.leave_line();
                    return Poll::Ready(result);
                }
                Step::Wait => false,
                Step::WaitForRoom => true,
            };
            if !self.is_worth_another_step(waker, for_room) {
                return Poll::Pending;
            }
        }
    }

    /// As [`poll`](LazyMap::poll), with the detail.
    pub(crate) fn poll_detailed(&mut self, waker: &Waker) -> Poll<Option<WithDetail<T::Output>>> {
        self.poll(waker).map(|result| Some((self.take_detail(), result?)))
    }

    /// Whether a result, or the room, has come meanwhile; if not, the waker is woken when it has.
    fn is_worth_another_step(&mut self, waker: &Waker, for_room: bool) -> bool {
        if self.input.feed.completion.poll_news(waker) || for_room && self.input.feed.poll_turn(waker) {
            return true;
        }
        if self.window.out() > 0 {
            // A future has no clock, so the host looks for it.
            self.input.feed.host.watch_held(self.input.feed.completion.job());
        }
        false
    }

    /// Whether the end has been handed out, or will be next.
    pub(crate) fn is_terminated(&self) -> bool {
        // A panic of the input is still to come, and a stream that says it is at its end is not polled again.
        self.has_ended && self.ready.is_empty() && !self.input.feed.has_panicked()
    }
}
