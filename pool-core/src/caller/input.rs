//! Takes the items of a map from the caller's iterator, and encodes them into the blocks of its [`Feed`].
//!
//! It runs in the caller's thread, so iterators need not be `Send` and may yield borrowed items. Blocks begin
//! small, so that the first workers start at once, and double; a slow iterator's items go off as they come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::caller::feed::{Feed, Source};
use crate::caller::fill::{Filled, Tally, fill_run};
use crate::codec::encoder::Encoder;
use crate::error::Result;
use crate::host::Host;
use crate::job::batch::CompletionRef;
use crate::job::completion::Completion;
use crate::scheduler::JobSpec;
use crate::task::{Task, args_may_be_plain};

pub(crate) struct MapInput<T: Task, I> {
    pub(crate) feed: Feed,
    /// The iterator. `None` while it is being pulled, and when it has panicked.
    items: Option<I>,
    task: std::marker::PhantomData<fn() -> T>,
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> MapInput<T, I> {
    /// Opens a job for the items; none is pulled yet.
    pub(crate) fn open(host: &Arc<Host>, spec: JobSpec, items: I) -> Result<Self> {
        // Only where all results are taken together: a buffer hands nothing out before the end.
        let result_buffer = if spec.bulk { T::result_buffer(items.size_hint().0) } else { None };
        let completion = host.open_map(spec, T::entry(), result_buffer)?;
        let feed = Feed::new(host, spec, completion, T::entry(), T::args_size());
        Ok(MapInput { feed, items: Some(items), task: std::marker::PhantomData })
    }

    /// Declares that the caller waits for all results.
    pub(crate) fn awaited(mut self) -> Self {
        self.feed.await_all();
        self
    }

    /// Leaves the job to itself.
    pub(crate) fn detach(mut self) -> CompletionRef {
        self.feed.detach()
    }

    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.items {
            Some(items) if !self.feed.has_ended() => items.size_hint(),
            _ => (0, Some(0)),
        }
    }

    /// Pulls until `count` items have been taken, or there are no more, and hands all of them over. Where the number of
    /// pending items is bounded, no more are pulled than there is room for.
    pub(crate) fn pull_to(&mut self, count: u64) {
        while self.feed.pulled() < count && !self.feed.has_ended() {
            let most = count.min(self.feed.wait_for_next());
            self.pull_block(most);
            while self.feed.has_rest() {
                // Others were faster, or the items are larger than was known.
                self.feed.wait_for_turn(None, false);
                self.hand_over_rest();
            }
        }
    }

    /// Pulls one block of items, or some that follow one another closely, but not past `count`, and hands it over. True
    /// if the input is slow. Items of a lazy map that find no room are left [waiting](Feed::has_rest), and its input is
    /// not asked again once a result is there.
    pub(crate) fn pull_block(&mut self, count: u64) -> bool {
        let MapInput { feed, items, .. } = self;
        // The iterator is the user's: items before its panic are still handed over, and the panic goes on later.
        let mut fill = |feed: &mut Feed, count| catch_unwind(AssertUnwindSafe(|| Self::fill_block(feed, items, count)));
        let is_slow = feed.take_block(count, &mut fill);
        self.seal_if_done();
        is_slow
    }

    /// Pulls one item of an input of which the pool takes no more, if there is one: the first that is lost.
    pub(crate) fn pull_refused(&mut self) {
        // Out of the struct: if it panics it must not be pulled again.
        let mut items = self.items.take();
        let pulled = catch_unwind(AssertUnwindSafe(|| items.as_mut().is_some_and(|items| items.next().is_some())));
        self.feed.pulled += u64::from(matches!(pulled, Ok(true)));
        self.feed.end(match pulled {
            Ok(false) => Source::Ended,
            Ok(true) => Source::Refused,
            Err(payload) => Source::Panicked(payload),
        });
    }

    /// Takes no more items. Those that were taken go on.
    pub(crate) fn stop(&mut self) {
        if self.feed.has_ended() || self.feed.host.check_owner().is_err() {
            return;
        }
        // Ended first: the destructor below may use this very pool.
        self.feed.end(Source::Ended);
        self.feed.seal_if_done();
        // Last, since its destructor is the user's code and may panic.
        drop(self.items.take());
    }

    /// Hands over the waiting items, as far as there is room.
    pub(crate) fn hand_over_rest(&mut self) {
        self.feed.hand_over_items(None);
        self.seal_if_done();
    }

    /// Seals the job if no more items will come: after the last block is in, or the job could end without it.
    fn seal_if_done(&mut self) {
        // An input that is known to have nothing more loses nothing by the pool's end.
        if self.feed.was_cut_off() && self.items.as_ref().is_some_and(|items| items.size_hint().1 == Some(0)) {
            self.feed.end(Source::Ended);
        }
        self.feed.seal_if_done();
    }

    /// Encodes items into the block until it should be handed over.
    fn fill_block(feed: &mut Feed, place: &mut Option<I>, count: u64) -> Filled {
        // In a variable of its own, so that it can be kept in registers. If it panics it is gone.
        let Some(mut items) = place.take() else { return Filled::Ended };
        let filled = if const { args_may_be_plain::<T>() }
            && let Some(size @ 1..) = T::args_size()
        {
            loop {
                let filled = Self::fill_sized(feed, &mut items, count, size);
                let has_enough = feed.block.items() >= feed.target || feed.pulled >= count;
                if has_enough || !matches!(filled, Filled::Enough) || !feed.block.make_room(size) {
                    break filled;
                }
            }
        } else {
            Self::fill_any(feed, &mut items, count)
        };
        *place = Some(items);
        filled
    }

    /// [`fill_block`](MapInput::fill_block) where all arguments have one size, so that nothing has to be measured; as far as
    /// there is room.
    #[inline]
    fn fill_sized(feed: &mut Feed, items: &mut I, count: u64, size: usize) -> Filled {
        let Feed { pulled, block, target, clock, completion, is_lazy, .. } = feed;
        let completion: &Completion = completion;
        let (mut room, filled, used) = block.parts();
        let most = usize::try_from(count - *pulled).unwrap_or(usize::MAX).min((*target - *filled) as usize);
        let mut left = most.min(room.len() / size);
        while left > 0 {
            // The clock is looked at between runs only, so that the loop within one stays tight.
            let run = left.min((clock.check_at + 1).saturating_sub(*filled) as usize).max(1);
            left -= run;
            let (places, rest) = room.split_at_mut(run * size);
            room = rest;
            let tally = Tally { done: 0, pulled: &mut *pulled, filled: &mut *filled, used: &mut *used, size };
            let end = match *is_lazy {
                false => fill_run::<T>(items, places, tally, || false),
                true => fill_run::<T>(items, places, tally, || completion.has_news()),
            };
            if let Some(end) = end {
                return end;
            }
            if *is_lazy && completion.has_news() {
                return Filled::Overtaken;
            }
            if clock.is_due(*filled) {
                return Filled::Late;
            }
        }
        Filled::Enough
    }

    /// [`fill_block`](MapInput::fill_block) for arguments of any size.
    fn fill_any(feed: &mut Feed, items: &mut I, count: u64) -> Filled {
        let Feed { host, pulled, block, target, clock, completion, is_lazy, attachments, .. } = feed;
        let (room, filled, used) = block.parts();
        let before = *used;
        // With the arena at hand, a large item is encoded there at once instead of being copied.
        let mut out = Encoder::with_arena(room, host.arena()).naming(attachments);
        while *filled < *target && *pulled < count && !out.names_many() {
            if *is_lazy && completion.has_news() {
                return Filled::Overtaken;
            }
            let Some(args) = items.next() else { return Filled::Ended };
            let encoded = out.item(T::args_size(), |out| T::encode_args(&args, out));
            // An item that panics while it is encoded has no place among the results: the panic stands for it.
            *pulled += 1;
            match encoded {
                Ok(None) => {
                    *filled += 1;
                    *used = before + out.used();
                }
                Ok(Some(spill)) => return Filled::Oversized(spill),
                Err(error) => return Filled::Unencodable(error),
            }
            if clock.is_due(*filled) {
                return Filled::Late;
            }
        }
        Filled::Enough
    }
}
