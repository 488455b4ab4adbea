//! Takes the items of a map from the caller's iterator, encodes them, and hands them over block by block.
//!
//! It runs in the caller's thread, so iterators need not be `Send` and may lend what they yield. Blocks begin
//! small, so that the first workers start at once, and double; a slow iterator's items go off as they come.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::caller::job_input::{BLOCK_BYTES, Filled, JobInput, Source};
use crate::codec::encoder::Encoder;
use crate::error::Result;
use crate::host::Host;
use crate::job::batch::CompletionRef;
use crate::scheduler::JobSpec;
use crate::task::{Task, args_may_be_plain};

/// The items of a map on their way, of which only the taking and the encoding depends on their types.
pub(crate) struct MapInput<T: Task, I> {
    job: JobInput,
    /// `None` while it is being pulled, and when it has panicked.
    items: Option<I>,
    task: std::marker::PhantomData<fn() -> T>,
}

impl<T: Task, I> Deref for MapInput<T, I> {
    type Target = JobInput;

    fn deref(&self) -> &JobInput {
        &self.job
    }
}

impl<T: Task, I> DerefMut for MapInput<T, I> {
    fn deref_mut(&mut self) -> &mut JobInput {
        &mut self.job
    }
}

/// Bytes of a lazy map's arguments that are pulled before it is asked again how many may be.
const LAZY_STEP_BYTES: u64 = 1 << 20;

/// Counts items in one place, and tells the feed how many there were when it is done, also when the iterator panics.
struct Tally<'f> {
    done: usize,
    pulled: &'f mut u64,
    filled: &'f mut u32,
    used: &'f mut usize,
    size: usize,
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        *self.pulled += self.done as u64;
        *self.filled += self.done as u32;
        *self.used += self.done * self.size;
    }
}

/// Encodes an item into each place; why not, if it ends before.
#[inline(always)]
fn fill_run<'a, 'p, T: Task>(
    items: &mut impl Iterator<Item = T::Args<'a>>,
    places: impl Iterator<Item = &'p mut [u8]>,
    mut tally: Tally<'_>,
) -> Option<Filled> {
    for place in places {
        let Some(args) = items.next() else { return Some(Filled::Ended) };
        if let Err(error) = T::encode_args(&args, &mut Encoder::new(place)) {
            *tally.pulled += 1;
            return Some(Filled::Unencodable(error));
        }
        tally.done += 1;
    }
    None
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> MapInput<T, I> {
    /// Opens a job for the items; none is pulled yet.
    pub(crate) fn open(host: &Arc<Host>, spec: JobSpec, items: I) -> Result<Self> {
        let result_buffer = if spec.bulk { T::result_buffer(items.size_hint().0) } else { None };
        let job = JobInput::open(host, spec, T::entry(), T::args_size(), result_buffer)?;
        Ok(MapInput { job, items: Some(items), task: std::marker::PhantomData })
    }

    /// Leaves the job to itself.
    pub(crate) fn detach(self) -> CompletionRef {
        self.job.detach()
    }

    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.items {
            Some(items) if !self.has_ended() => items.size_hint(),
            _ => (0, Some(0)),
        }
    }

    /// Pulls until `count` items have been taken, or there are no more, and hands all of them over. Where the number of
    /// pending items is bounded, no more are pulled than there is room for.
    pub(crate) fn pull_to(&mut self, count: u64) {
        while self.pulled < count && !self.has_ended() {
            let room = self.wait_for_room();
            self.pull_block(count.min(self.pulled.saturating_add(room)));
            while self.has_rest() {
                // Others were faster.
                self.wait_for_room();
                self.hand_over_rest();
            }
        }
    }

    /// Pulls one block of items, or some that follow one another closely, but not past `count`, and hands it over. True
    /// if the input is slow. Of a lazy map, those that find no room are left [waiting](MapInput::has_rest), and the input is
    /// not asked again once a result is there.
    pub(crate) fn pull_block(&mut self, count: u64) -> bool {
        let before = self.bytes;
        let first = self.pulled;
        self.begin_block(first, 0);
        let mut filled = self.pull(count);
        while let Ok(Filled::Oversized(bytes)) = &filled
            && bytes.len() <= BLOCK_BYTES / 2
            && !(self.is_lazy && (self.completion.has_news() || self.bytes - before >= LAZY_STEP_BYTES))
        {
            // The first of the next block, which is begun at once: nothing pulled may wait for the next call.
            let first = self.pulled - 1;
            self.begin_block(first, bytes.len());
            self.block.put(bytes);
            filled = self.pull(count);
        }
        let is_slow = self.job.end_block(filled);
        self.end_if_through();
        is_slow
    }

    /// An input that is known to have nothing more loses nothing when the pool takes no more of it.
    fn end_if_through(&mut self) {
        let is_through = || self.items.as_ref().is_some_and(|items| items.size_hint().1 == Some(0));
        if self.job.was_cut_off() && is_through() {
            self.job.source = Source::Ended;
        }
    }

    /// Pulls one item of an input of which the pool takes no more, if there is one: the first that is lost.
    pub(crate) fn pull_refused(&mut self) {
        let mut items = self.items.take();
        self.source =
            match catch_unwind(AssertUnwindSafe(|| items.as_mut().is_some_and(|items| items.next().is_some()))) {
                Ok(false) => Source::Ended,
                Ok(true) => {
                    self.pulled += 1;
                    Source::Refused
                }
                Err(payload) => Source::Panicked(payload),
            };
    }

    /// Fills the block and hands it over.
    fn pull(&mut self, count: u64) -> thread::Result<Filled> {
        let filled = catch_unwind(AssertUnwindSafe(|| self.fill_block(count)));
        self.flush();
        filled
    }

    /// Encodes items into the block until it should be handed over.
    fn fill_block(&mut self, count: u64) -> Filled {
        // In a variable of its own, so that it can be kept in registers. If it panics it is gone.
        let Some(mut items) = self.items.take() else { return Filled::Ended };
        let filled = if const { args_may_be_plain::<T>() }
            && let Some(size @ 1..) = T::args_size()
        {
            loop {
                let filled = self.fill_sized(&mut items, count, size);
                let has_enough = self.block.items() >= self.target || self.pulled >= count;
                if has_enough || !matches!(filled, Filled::Enough) || !self.block.make_room(size) {
                    break filled;
                }
            }
        } else {
            self.fill_any(&mut items, count)
        };
        self.items = Some(items);
        filled
    }

    /// [`fill_block`](MapInput::fill_block) where all arguments have one size, so that nothing has to be measured; as far as
    /// there is room.
    #[inline]
    fn fill_sized(&mut self, items: &mut I, count: u64, size: usize) -> Filled {
        let JobInput { pulled, block, target, clock, completion, is_lazy, .. } = &mut self.job;
        let is_overtaken = || *is_lazy && completion.has_news();
        let (room, filled, used) = block.parts();
        let most = usize::try_from(count - *pulled).unwrap_or(usize::MAX).min((*target - *filled) as usize);
        let mut places = room.chunks_exact_mut(size);
        let mut left = most.min(places.len());
        while left > 0 {
            let run = left.min((clock.check_at + 1).saturating_sub(*filled) as usize).max(1);
            left -= run;
            let tally = Tally { done: 0, pulled: &mut *pulled, filled: &mut *filled, used: &mut *used, size };
            let run = places.by_ref().take(run);
            let end = match *is_lazy {
                false => fill_run::<T>(items, run, tally),
                true => fill_run::<T>(items, run.take_while(|_| !completion.has_news()), tally),
            };
            if let Some(end) = end {
                return end;
            }
            if is_overtaken() {
                return Filled::Overtaken;
            }
            if clock.is_due(*filled) {
                return Filled::Late;
            }
        }
        Filled::Enough
    }

    /// [`fill_block`](MapInput::fill_block) for arguments of any size.
    fn fill_any(&mut self, items: &mut I, count: u64) -> Filled {
        let JobInput { pulled, block, target, clock, completion, is_lazy, .. } = &mut self.job;
        let (room, filled, used) = block.parts();
        let before = *used;
        let mut out = Encoder::new(room);
        while *filled < *target && *pulled < count {
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
                Ok(Some(bytes)) => return Filled::Oversized(bytes),
                Err(error) => return Filled::Unencodable(error),
            }
            if clock.is_due(*filled) {
                return Filled::Late;
            }
        }
        Filled::Enough
    }

    /// Hands over the waiting items, as far as there is room.
    pub(crate) fn hand_over_rest(&mut self) {
        self.job.hand_over_rest();
        self.end_if_through();
    }
}
