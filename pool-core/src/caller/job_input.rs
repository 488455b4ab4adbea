//! The side of a map's input that does not depend on its types: blocks of encoded items, on their way to the job.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pool_ipc::{SEGMENT_BYTES, Segment};

use crate::caller::arguments::unencodable;
use crate::caller::block_builder::{BlockBuilder, Clock};
use crate::codec::CodecError;
use crate::codec::number_buffer::ResultBuffer;
use crate::error::Result;
use crate::host::Host;
use crate::host::router::BURST;
use crate::job::batch::CompletionRef;
use crate::job::blocks::{Block, Content};
use crate::job::completion::{Part, Waiter};
use crate::lane::messages::RECORD_BYTES;
use crate::scheduler::JobSpec;
use crate::task::table::Entry;

pub(crate) struct JobInput {
    pub(crate) host: Arc<Host>,
    pub(crate) completion: CompletionRef,
    entry: &'static Entry,
    /// Bytes of each item, if they are always as many.
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
    pub(super) bytes: u64,
    /// Results are taken while items are pulled, and go first.
    pub(super) is_lazy: bool,
    pub(super) source: Source,
    is_detached: bool,
}

pub(super) enum Source {
    Flowing,
    Ended,
    /// The pool takes no more of it.
    Refused,
    Panicked(Box<dyn Any + Send>),
}

/// Why a block goes off.
pub(super) enum Filled {
    Enough,
    /// It has waited long enough for more.
    Late,
    /// A result has come.
    Overtaken,
    Ended,
    /// The item pulled last does not fit beside the others, so it goes alone.
    Oversized(Vec<u8>),
    /// The item pulled last goes nowhere.
    Unencodable(CodecError),
}

/// Bytes of a full block that is sent: a chunk of it never has more, so that several fit into a ring and decoding begins
/// early. Beyond that it goes to a segment of the arena.
pub(super) const BLOCK_BYTES: usize = RECORD_BYTES;
const _: () = assert!(BLOCK_BYTES <= SEGMENT_BYTES);
const BLOCK_BYTES_MIN: usize = 1 << 10;
/// Bytes from which on a chunk is better read in the arena than sent. A shorter one costs less in a ring, where the next chunk
/// is in the same cache line or the one behind it.
const LOCATED_MIN: usize = 4 << 10;
const BLOCK_ITEMS_MAX: u32 = 1 << 15;
/// Bytes expected of an item of no fixed size.
const ITEM_BYTES: usize = 64;

impl JobInput {
    /// Opens a job; no item of it is pulled yet.
    pub(super) fn open(
        host: &Arc<Host>,
        spec: JobSpec,
        entry: &'static Entry,
        args_size: Option<usize>,
        result_buffer: Option<Box<dyn ResultBuffer>>,
    ) -> Result<Self> {
        let is_lazy = spec.lazy;
        let completion = host.open_map(spec, entry, result_buffer)?;
        Ok(JobInput {
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
            is_lazy,
            source: Source::Flowing,
            is_detached: false,
        })
    }

    /// Leaves the job to itself.
    pub(super) fn detach(mut self) -> CompletionRef {
        self.is_detached = true;
        self.completion.clone()
    }

    /// Items taken from the iterator so far.
    pub(crate) fn pulled(&self) -> u64 {
        self.pulled
    }

    /// Whether no more items will be taken.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.source, Source::Flowing)
    }

    /// Whether the pool ended before all of the input was pulled.
    pub(crate) fn was_cut_off(&self) -> bool {
        matches!(self.source, Source::Refused)
    }

    /// Bytes of all arguments handed over so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether pulled items wait for [room](JobInput::hand_over_rest).
    pub(crate) fn has_rest(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until more items may be pending, or none of the job's ever will be; how many.
    pub(super) fn wait_for_room(&self) -> u64 {
        if self.host.max_pending == u64::MAX {
            return u64::MAX;
        }
        self.host.wait_for_room(|_| self.completion.is_finished());
        self.host.look().1.max(1)
    }

    /// Hands over what has not been handed over yet, after a block has been filled. True if the input is slow.
    pub(super) fn end_block(&mut self, filled: thread::Result<Filled>) -> bool {
        let index = self.pulled.saturating_sub(1);
        let is_slow = matches!(filled, Ok(Filled::Late));
        match filled {
            Ok(Filled::Enough | Filled::Late | Filled::Overtaken) => {}
            Ok(Filled::Oversized(bytes)) => {
                self.hand_over(Block::new(index, 1, self.args_size, Content::Own(bytes)));
            }
            Ok(Filled::Unencodable(error)) => {
                let error = unencodable(self.entry, &error).of_item(Some(index as usize));
                self.completion.deliver(Part { first: index, items: 1, raw: false, values: Err(error) });
                self.host.settle_unsent();
            }
            Ok(Filled::Ended) => self.source = Source::Ended,
            Err(payload) => self.source = Source::Panicked(payload),
        }
        self.seal_if_done();
        is_slow
    }

    /// Says that no more items will come, when that is so.
    fn seal_if_done(&self) {
        if self.has_ended() && !self.has_rest() {
            self.host.seal(self.completion.job());
        }
    }

    /// Goes on with the iterator's panic, if that is why it ended.
    pub(crate) fn resume_panic(&mut self) {
        if let Source::Panicked(payload) = std::mem::replace(&mut self.source, Source::Ended) {
            resume_unwind(payload);
        }
    }

    /// A block with room for `least` bytes at least.
    pub(super) fn begin_block(&mut self, first: u64, least: usize) {
        let size = self.args_size.unwrap_or(ITEM_BYTES).max(1);
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

    pub(super) fn flush(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.items() >= self.target {
            self.target = (self.target * 2).min(BLOCK_ITEMS_MAX);
        }
        if let Some(block) = block.finish(self.args_size, &mut self.spare) {
            self.hand_over(block);
        }
    }

    fn hand_over(&mut self, block: Block) {
        self.waiting.push_back(block.range());
        self.bytes += block.bytes().len() as u64;
        self.host.note_submissions(BURST + 1);
        self.hand_over_items(Some(block));
    }

    /// Hands over the waiting items, as far as there is room.
    pub(super) fn hand_over_rest(&mut self) {
        self.hand_over_items(None);
        self.seal_if_done();
    }

    /// Gives the job the block, and the scheduler as many of the waiting items as may be pending.
    fn hand_over_items(&mut self, block: Option<Block>) {
        let accepted = self.host.feed(self.completion.job(), block, &mut self.waiting, &mut self.spare);
        if !accepted {
            self.waiting.clear();
            self.source = Source::Refused;
        }
    }

    /// Waits for the completion to have something, or until the deadline: false.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let register = |thread| drop(self.completion.set_waiter(Waiter::Thread(thread)));
        self.host.wait(deadline, || self.completion.has_news(), register)
    }

    /// As [`wait`](JobInput::wait), or until more items may be pending.
    pub(crate) fn wait_or_room(&self, deadline: Option<Instant>) -> bool {
        self.host.wait_or_room(
            deadline,
            || self.completion.has_news(),
            |thread| {
                drop(self.completion.set_waiter(Waiter::Thread(thread)));
            },
        )
    }
}

/// No thread will look at the outcome, so items that have not begun are dropped.
impl Drop for JobInput {
    fn drop(&mut self) {
        if !self.is_detached && !self.completion.is_finished() && self.host.check_owner().is_ok() {
            self.completion.abandon();
            self.host.discard(self.completion.job());
        }
    }
}
