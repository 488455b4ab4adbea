//! The way of a map's items into its job: blocks are begun, handed over, and wait for room here.
//!
//! Nothing of it depends on the task's types or on the iterator, so it is compiled once, and not for each map of a user's
//! program. [`MapInput`](super::input::MapInput) pulls and encodes the items.

#[cfg(feature = "remote")]
pub(crate) mod encoded;
mod room;

use std::any::Any;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{InUse, SEGMENT_BYTES, Segment};

use crate::attachments::Attachments;
use crate::caller::arguments::unencodable;
use crate::caller::block_builder::{BlockBuilder, Clock};
use crate::caller::fill::Filled;
use crate::codec::encoder::{LARGE_BYTES, Spill};
use crate::host::Host;
use crate::host::router::BURST;
use crate::host::turn::Turn;
use crate::job::batch::CompletionRef;
use crate::job::block::Block;
use crate::job::completion::Part;
use crate::job::content::Content;
use crate::lane::messages::RECORD_BYTES;
use crate::scheduler::JobSpec;
use crate::task::table::Entry;

pub(crate) struct Feed {
    pub(crate) host: Arc<Host>,
    pub(crate) completion: CompletionRef,
    entry: &'static Entry,
    /// Bytes of all arguments of one item, if all have as many.
    args_size: Option<usize>,
    /// Items taken from the iterator.
    pub(super) pulled: u64,
    pub(super) block: BlockBuilder,
    /// Items that a block should have.
    pub(super) target: u32,
    pub(super) clock: Clock,
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
    pub(super) attachments: Attachments,
    /// The caller waits for all results, so pulling may wait, too.
    is_awaited: bool,
    /// Results are taken while items are pulled, and go first.
    pub(super) is_lazy: bool,
    /// The times of items are asked for.
    is_timed: bool,
    /// The place in the line for room, if the map has ever waited for some.
    turn: Option<Turn>,
    source: Source,
    is_detached: bool,
}

/// The state of the iterator.
pub(super) enum Source {
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

impl Feed {
    pub(super) fn new(
        host: &Arc<Host>,
        spec: JobSpec,
        completion: CompletionRef,
        entry: &'static Entry,
        args_size: Option<usize>,
    ) -> Self {
        Feed {
            host: Arc::clone(host),
            completion,
            entry,
            args_size,
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
        }
    }

    /// Declares that the caller waits for all results.
    pub(super) fn await_all(&mut self) {
        self.is_awaited = true;
    }

    /// Items taken from the iterator so far.
    pub(crate) fn pulled(&self) -> u64 {
        self.pulled
    }

    /// Whether no more items will be taken.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.source, Source::Flowing)
    }

    /// Whether the input has panicked, and the panic is still to [go on](Feed::resume_panic).
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

    /// Whether pulled items wait for [room](super::input::MapInput::hand_over_rest).
    pub(crate) fn has_rest(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Asks for the origins of the outcomes of all items that are pulled from now on.
    pub(crate) fn ask_times(&mut self) {
        self.is_timed = true;
    }

    /// The iterator has ended, or is not asked any more.
    pub(super) fn end(&mut self, source: Source) {
        self.source = source;
    }

    /// Hands over blocks that `fill` encodes, up to `count` items; true if the input is slow.
    pub(super) fn take_block(
        &mut self,
        count: u64,
        fill: &mut dyn FnMut(&mut Feed, u64) -> std::thread::Result<Filled>,
    ) -> bool {
        let before = self.bytes;
        self.attachments.clear();
        self.expect_no_listener();
        self.begin_block(self.pulled, 0);
        let mut filled = fill(self, count);
        self.flush();
        while let Ok(Filled::Oversized(spill)) = &filled
            && spill.len() <= BLOCK_BYTES / 2
            && !(self.is_lazy && (self.completion.has_news() || self.bytes - before >= LAZY_STEP_BYTES))
        {
            // The first of the next block, which is begun at once: nothing pulled may wait for the next call.
            self.begin_block(self.pulled - 1, spill.len());
            self.block.put(spill);
            // Nothing more is pulled while items wait for room.
            filled = fill(self, if self.has_rest() { self.pulled } else { count });
            self.flush();
        }
        let index = self.pulled.saturating_sub(1);
        let is_slow = matches!(filled, Ok(Filled::Late));
        match filled {
            Ok(Filled::Enough | Filled::Late | Filled::Overtaken) => {}
            Ok(Filled::Oversized(spill)) => self.hand_over_alone(index, spill),
            Ok(Filled::Unencodable(error)) => {
                let error = unencodable(self.entry, &error).of_item(Some(index as usize));
                self.completion.deliver(Part { first: index, items: 1, raw: false, values: Err(error), origin: None });
                self.host.settle_unsent();
            }
            Ok(Filled::Ended) => self.source = Source::Ended,
            Err(payload) => self.source = Source::Panicked(payload),
        }
        self.attachments.clear();
        is_slow
    }

    /// Hands over an item that does not fit beside others.
    fn hand_over_alone(&mut self, index: u64, spill: Spill) {
        self.large_bytes = if spill.len() >= LARGE_BYTES { spill.len() } else { 0 };
        let content = Content::from(spill);
        if let Content::InArena(segment, _) = &content {
            self.large.push_back(segment.in_use());
        }
        self.hand_over(Block::new(index, 1, self.args_size, content));
    }

    /// Seals the job if no more items will come.
    pub(super) fn seal_if_done(&self) {
        if self.has_ended() && !self.has_rest() {
            self.host.seal(self.completion.job());
        }
    }

    /// Goes on with the iterator's panic, if it ended by one.
    pub(crate) fn resume_panic(&mut self) {
        if let Source::Panicked(payload) = std::mem::replace(&mut self.source, Source::Ended) {
            resume_unwind(payload);
        }
    }

    /// Begins a block with room for `least` bytes at least.
    fn begin_block(&mut self, first: u64, least: usize) {
        let size = self.args_size.unwrap_or(ITEM_BYTES).max(1);
        // Between 1 KiB and the longest record; a single item may be longer than both.
        let length = (size * self.target as usize).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES).max(size).max(least);
        let segment = self.args_size.filter(|_| length == BLOCK_BYTES).and_then(|size| self.segment(size));
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
        if let Some(block) = block.finish(self.args_size, &mut self.spare) {
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

    /// Gives the job the block, and the scheduler as many of the waiting items as may be pending.
    pub(super) fn hand_over_items(&mut self, block: Option<Block>) {
        let accepted =
            self.host.feed(self.completion.job(), block, &mut self.waiting, self.turn.as_mut(), &mut self.spare);
        if !accepted {
            // The job has ended, so they have their errors, and no room will come for them.
            self.waiting.clear();
            self.source = Source::Refused;
        }
    }
}

/// No thread will look at the outcome, so items that have not begun are dropped.
impl Drop for Feed {
    fn drop(&mut self) {
        if !self.is_detached && !self.completion.is_finished() && self.host.check_owner().is_ok() {
            // Before the job is discarded, which delivers errors that would only be dropped.
            self.completion.abandon();
            self.completion.reports().into_iter().for_each(|reports| reports.close());
            self.host.discard(self.completion.job());
        }
    }
}
