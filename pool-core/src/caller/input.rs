//! Takes the items of a map from the caller's iterator, encodes them, and hands them over block by block.
//!
//! It runs in the caller's thread, so iterators need not be `Send` and may yield borrowed items. Blocks begin
//! small, so that the first workers start at once, and double; a slow iterator's items go off as they come.

mod room;

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{InUse, SEGMENT_BYTES, Segment};

use crate::attachments::Attachments;
use crate::caller::arguments::encode_error;
use crate::caller::block_builder::{BlockBuilder, Clock};
use crate::caller::fill::{Filled, Tally, fill_run};
use crate::codec::encoder::{Encoder, LARGE_BYTES, Spill};
use crate::error::Result;
use crate::host::Host;
use crate::host::router::BURST;
use crate::host::turn::Turn;
use crate::job::batch::CompletionRef;
use crate::job::block::Block;
use crate::job::completion::{Completion, Part};
use crate::job::content::Content;
use crate::lane::messages::RECORD_BYTES;
use crate::scheduler::JobSpec;
use crate::task::{Task, args_may_be_plain};

pub(crate) struct MapInput<T: Task, I> {
    pub(crate) host: Arc<Host>,
    pub(crate) completion: CompletionRef,
    /// The iterator. `None` while it is being pulled, and when it has panicked.
    items: Option<I>,
    /// Items taken from the iterator.
    pulled: u64,
    block: BlockBuilder,
    /// Items that a block should have.
    target: u32,
    clock: Clock,
    /// Memory of earlier blocks.
    spare: Vec<Vec<u8>>,
    /// Items that wait until fewer are pending; the job has their arguments already.
    waiting: VecDeque<(u64, u32)>,
    /// Bytes of all arguments handed over so far.
    bytes: u64,
    /// Large items in the arena, oldest first; some of them may be through.
    large: VecDeque<InUse>,
    /// Bytes of the latest item, if it was large: the next is expected to be like it.
    large_bytes: usize,
    /// The arrays that the items of the block name.
    attachments: Attachments,
    /// The caller waits for all results, so pulling may wait, too.
    is_awaited: bool,
    /// Results are taken while items are pulled, and go first.
    is_lazy: bool,
    /// The times of items are asked for.
    is_timed: bool,
    /// The place in the line for room, if the map has ever waited for some.
    turn: Option<Turn>,
    source: Source,
    is_detached: bool,
    task: std::marker::PhantomData<fn() -> T>,
}

enum Source {
    Flowing,
    Ended,
    /// The pool takes no more of it.
    Refused,
    Panicked(Box<dyn Any + Send>),
}

/// Bytes of a full block that is sent: a chunk of it never has more, so that several fit into a ring and decoding begins
/// early. Beyond that it goes to a segment of the arena.
const BLOCK_BYTES: usize = RECORD_BYTES;
const _: () = assert!(BLOCK_BYTES <= SEGMENT_BYTES);
const BLOCK_BYTES_MIN: usize = 1 << 10;
/// Bytes from which on a chunk is better read in the arena than sent. A shorter one costs less in a ring, where the next
/// chunk is in the same cache line or the one behind it.
const LOCATED_MIN: usize = 4 << 10;
const BLOCK_ITEMS_MAX: u32 = 1 << 15;
/// Bytes of a lazy map's arguments that are pulled before it is asked again how many may be.
const LAZY_STEP_BYTES: u64 = 1 << 20;
/// Bytes expected of an item of no fixed size.
const ITEM_BYTES: usize = 64;

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> MapInput<T, I> {
    /// Opens a job for the items; none is pulled yet.
    pub(crate) fn open(host: &Arc<Host>, spec: JobSpec, items: I) -> Result<Self> {
        // Only where all results are taken together: a buffer hands nothing out before the end.
        let result_buffer = if spec.bulk { T::result_buffer(items.size_hint().0) } else { None };
        let completion = host.open_map(spec, T::entry(), result_buffer)?;
        Ok(MapInput {
            host: Arc::clone(host),
            completion,
            items: Some(items),
            pulled: 0,
            block: BlockBuilder::default(),
            target: 1,
            clock: Clock::default(),
            spare: Vec::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            large: VecDeque::new(),
            large_bytes: 0,
            attachments: Attachments::new(),
            is_awaited: false,
            is_lazy: spec.lazy,
            is_timed: false,
            turn: None,
            source: Source::Flowing,
            is_detached: false,
            task: std::marker::PhantomData,
        })
    }

    /// Declares that the caller waits for all results.
    pub(crate) fn awaited(mut self) -> Self {
        self.is_awaited = true;
        self
    }

    /// Items taken from the iterator so far.
    pub(crate) fn pulled(&self) -> u64 {
        self.pulled
    }

    /// Whether no more items will be taken.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.source, Source::Flowing)
    }

    /// Whether the input has panicked, and the panic is still to [go on](MapInput::resume_panic).
    #[cfg(feature = "stream")]
    pub(crate) fn has_panicked(&self) -> bool {
        matches!(self.source, Source::Panicked(_))
    }

    /// Whether the pool ended before all of the input was pulled.
    pub(crate) fn was_cut_off(&self) -> bool {
        matches!(self.source, Source::Refused)
    }

    /// Bytes of all arguments handed over so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether pulled items wait for [room](MapInput::hand_over_rest).
    pub(crate) fn has_rest(&self) -> bool {
        !self.waiting.is_empty()
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
            // Before the item exists: a pulled item must be kept somewhere.
            let room = self.wait_for_room();
            // Before the item is pulled: it is encoded as soon as it is there.
            self.wait_for_arena();
            self.pull_block(count.min(self.pulled.saturating_add(room)));
            while self.has_rest() {
                // Others were faster, or the items are larger than was known.
                self.wait_for_turn(None, false);
                self.hand_over_rest();
            }
        }
    }

    /// Hands over an item that does not fit beside others.
    fn hand_over_alone(&mut self, index: u64, spill: Spill) {
        self.large_bytes = if spill.len() >= LARGE_BYTES { spill.len() } else { 0 };
        let content = Content::from(spill);
        if let Content::InArena(segment, _) = &content {
            self.large.push_back(segment.in_use());
        }
        self.hand_over(Block::new(index, 1, T::args_size(), content));
    }

    /// Pulls one block of items, or some that follow one another closely, but not past `count`, and hands it over. True
    /// if the input is slow. Items of a lazy map that find no room are left [waiting](MapInput::has_rest), and its input is
    /// not asked again once a result is there.
    pub(crate) fn pull_block(&mut self, count: u64) -> bool {
        let before = self.bytes;
        self.attachments.clear();
        self.expect_no_listener();
        self.begin_block(self.pulled, 0);
        let mut filled = self.pull(count);
        while let Ok(Filled::Oversized(spill)) = &filled
            && spill.len() <= BLOCK_BYTES / 2
            && !(self.is_lazy && (self.completion.has_news() || self.bytes - before >= LAZY_STEP_BYTES))
        {
            // The first of the next block, which is begun at once: nothing pulled may wait for the next call.
            self.begin_block(self.pulled - 1, spill.len());
            self.block.put(spill);
            // Nothing more is pulled while items wait for room.
            filled = self.pull(if self.has_rest() { self.pulled } else { count });
        }
        let index = self.pulled.saturating_sub(1);
        let is_slow = matches!(filled, Ok(Filled::Late));
        match filled {
            Ok(Filled::Enough | Filled::Late | Filled::Overtaken) => {}
            Ok(Filled::Oversized(spill)) => self.hand_over_alone(index, spill),
            Ok(Filled::Unencodable(error)) => {
                let error = encode_error::<T>(&error).of_item(Some(index as usize));
                self.completion.deliver(Part { first: index, items: 1, raw: false, values: Err(error), origin: None });
                self.host.settle_unsent();
            }
            Ok(Filled::Ended) => self.source = Source::Ended,
            Err(payload) => self.source = Source::Panicked(payload),
        }
        self.attachments.clear();
        // After the last block is in, or the job could end without it.
        self.seal_if_done();
        is_slow
    }

    /// Pulls one item of an input of which the pool takes no more, if there is one: the first that is lost.
    pub(crate) fn pull_refused(&mut self) {
        // Out of the struct: if it panics it must not be pulled again.
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

    /// Asks for the origins of the outcomes of all items that are pulled from now on.
    pub(crate) fn ask_times(&mut self) {
        self.is_timed = true;
    }

    /// Takes no more items. Those that were taken go on.
    pub(crate) fn stop(&mut self) {
        if self.has_ended() || self.host.check_owner().is_err() {
            return;
        }
        // Ended first: the destructor below may use this very pool.
        self.source = Source::Ended;
        self.seal_if_done();
        // Last, since its destructor is the user's code and may panic.
        drop(self.items.take());
    }

    /// Seals the job if no more items will come.
    fn seal_if_done(&self) {
        if self.has_ended() && !self.has_rest() {
            self.host.seal(self.completion.job());
        }
    }

    /// Fills the block and hands it over.
    fn pull(&mut self, count: u64) -> std::thread::Result<Filled> {
        // The iterator is the user's: items before its panic are still handed over, and the panic goes on later.
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
        let MapInput { pulled, block, target, clock, completion, is_lazy, .. } = self;
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
    fn fill_any(&mut self, items: &mut I, count: u64) -> Filled {
        let MapInput { host, pulled, block, target, clock, completion, is_lazy, attachments, .. } = self;
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

    /// Goes on with the iterator's panic, if it ended by one.
    pub(crate) fn resume_panic(&mut self) {
        if let Source::Panicked(payload) = std::mem::replace(&mut self.source, Source::Ended) {
            resume_unwind(payload);
        }
    }

    /// Begins a block with room for `least` bytes at least.
    fn begin_block(&mut self, first: u64, least: usize) {
        let size = T::args_size().unwrap_or(ITEM_BYTES).max(1);
        // Between 1 KiB and the longest record; a single item may be longer than both.
        let length = (size * self.target as usize).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES).max(size).max(least);
        let segment = T::args_size().filter(|_| length == BLOCK_BYTES).and_then(|size| self.segment(size));
        let bytes = self.spare.pop().unwrap_or_default();
        self.block = match segment {
            Some(segment) => BlockBuilder::in_arena(first, size, segment, bytes),
            None => BlockBuilder::new(first, length, bytes),
        };
        // The first item's own pull counts: behind a slow one comes another slow one.
        self.clock = Clock::begin();
    }

    /// A segment of the arena, if chunks of items of this size are worth one.
    fn segment(&self, size: usize) -> Option<Segment> {
        // A copy of the host does not have the arena.
        self.host.check_owner().ok()?;
        let (items, expects_news) = self.host.chunk_items(self.completion.job());
        if (items as usize).saturating_mul(size) < LOCATED_MIN {
            return None;
        }
        self.host.take_segment(expects_news)
    }

    fn flush(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.items() >= self.target {
            // Only after a full block: a slow iterator never fills one, and its items should go in small ones.
            self.target = (self.target * 2).min(BLOCK_ITEMS_MAX);
        }
        if let Some(block) = block.finish(T::args_size(), &mut self.spare) {
            self.hand_over(block);
        }
    }

    fn hand_over(&mut self, mut block: Block) {
        block.attach(&self.attachments);
        if self.is_timed {
            block.ask_times(monotonic_ns());
        }
        // By number alone: the job gets the bytes at once, whether or not the items may be pending.
        self.waiting.push_back(block.range());
        self.bytes += block.bytes().len() as u64;
        // So many that the router stays away: this thread takes in replies with each block.
        self.host.note_submissions(BURST + 1);
        self.hand_over_items(Some(block));
    }

    /// Hands over the waiting items, as far as there is room.
    pub(crate) fn hand_over_rest(&mut self) {
        self.hand_over_items(None);
        self.seal_if_done();
    }

    /// Gives the job the block, and the scheduler as many of the waiting items as may be pending.
    fn hand_over_items(&mut self, block: Option<Block>) {
        let accepted =
            self.host.feed(self.completion.job(), block, &mut self.waiting, self.turn.as_mut(), &mut self.spare);
        if !accepted {
            // The job has ended, so they have their errors, and no room will come for them.
            self.waiting.clear();
            // One that is known to have nothing more loses nothing.
            let is_through = self.items.as_ref().is_some_and(|items| items.size_hint().1 == Some(0));
            self.source = if is_through { Source::Ended } else { Source::Refused };
        }
    }
}

/// No thread will look at the outcome, so items that have not begun are dropped.
impl<T: Task, I> Drop for MapInput<T, I> {
    fn drop(&mut self) {
        if !self.is_detached && !self.completion.is_finished() && self.host.check_owner().is_ok() {
            // Before the job is discarded, which delivers errors that would only be dropped.
            self.completion.abandon();
            self.completion.reports().into_iter().for_each(|reports| reports.close());
            self.host.discard(self.completion.job());
        }
    }
}
