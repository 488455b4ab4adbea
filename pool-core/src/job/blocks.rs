//! The encoded arguments of a job's items, in blocks of items that can travel together; with those of calls, the
//! completions for their outcomes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::bytes::Bytes;
use crate::job::batch::{Batch, CompletionRef};
use crate::job::block::{Args, BESIDE_MAX, Block};
use crate::job::completion::Completion;
use crate::job::content::Content;
use crate::job::owner::Owner;
use crate::job::reports::Reports;
use crate::job::waiters::Waiters;
use crate::scheduler::{CALLS_PER_CHUNK_MAX, JobId};
use crate::task::table::Entry;
use crate::units::Nanos;

/// The arguments of items that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// In order of their items. Settled blocks are taken out at the ends, and left empty in the middle: see
    /// [`Blocks::remove`].
    queue: VecDeque<Block>,
    /// The number of empty blocks in the queue.
    empty: usize,
    /// Where the last look ended: the next item is mostly of the same block.
    last_position: Cell<usize>,
    /// Memory of settled blocks for further ones: it may still be in the caches.
    spare: Vec<Vec<u8>>,
    /// Bytes of the arguments of pending items: those that were [counted](Blocks::count), and those of calls.
    bytes: u64,
    /// The bytes that the last [`Blocks::take_change`] saw.
    seen_bytes: u64,
}

/// Buffers of settled blocks that are kept for further ones. When all items have been fed none is taken any more.
const SPARE_MAX: usize = 8;

/// Blocks that are moved to close a gap at once; where it would be more, the gap stays for a while.
const MOVED_MAX: usize = 32;

/// Blocks at the front that are looked at one after the other: mostly it is one of them.
const FRONT_BLOCKS: usize = 8;

/// A call on its way into a job.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) entry: &'static Entry,
    pub(crate) args: Bytes,
    /// Bytes of the arguments, if those of all calls of the task have as many.
    pub(crate) args_size: Option<usize>,
    /// The arguments are the bytes of the only one, without a frame.
    pub(crate) raw: bool,
}

impl Blocks {
    /// The block behind the last. Memory for further ones goes to `spare`.
    pub(crate) fn push(&mut self, block: Block, spare: &mut Vec<Vec<u8>>) {
        self.queue.push_back(block);
        // The caller is about to fill the next block; memory that workers are through with saves it fresh pages.
        spare.append(&mut self.spare);
    }

    /// Takes the next call of the job: its completion, and whether it stands beside the one before.
    #[inline]
    pub(crate) fn push_call(
        &mut self,
        owner: &Arc<impl Owner>,
        job: JobId,
        number: u64,
        call: Call,
        reports: Option<Arc<Reports>>,
    ) -> (CompletionRef, bool) {
        self.bytes += call.args.len() as u64;
        let last = self.queue.back_mut();
        // Doubled from one: a lone call pays for one completion, a stream of them allocates rarely.
        let batch_size = last.as_ref().map_or(1, |last| 2 * last.items).min(CALLS_PER_CHUNK_MAX);
        let may_join = !call.raw && !matches!(call.args, Bytes::Naming(_));
        if let Some(completion) = last.filter(|_| may_join).and_then(|last| last.add(number, &call.args)) {
            call.args.discard();
            return (completion, true);
        }
        let Call { args, args_size, raw, .. } = call;
        let (bytes, attachments) = if let Bytes::Inline(..) = args {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            // Into memory that was used before, and that has room for the calls that follow.
            bytes.extend_from_slice(&args);
            (Content::Own(bytes), None)
        } else {
            Content::of_args(args)
        };
        let batch = Batch::of_calls(owner, job, number, batch_size, reports);
        let completion = CompletionRef::new(&batch, 0);
        let counted = bytes.len() as u64;
        let block = Block::new(number, 1, args_size, bytes);
        self.queue.push_back(Block { raw, batch: Some(batch), counted, attachments, ..block });
        (completion, false)
    }

    /// Whether there is a call of this number that is not settled.
    pub(crate) fn has_call(&self, number: u64) -> bool {
        self.position(number).is_some_and(|at| self.queue[at].completion(number).is_some())
    }

    /// Settles a call with `outcome`. Returns the waiters to wake, or `None` if the call was settled before.
    #[inline]
    pub(crate) fn complete(
        &mut self,
        number: u64,
        outcome: impl FnOnce(&Completion) -> Option<Waiters>,
    ) -> Option<Option<Waiters>> {
        let at = self.position(number)?;
        let waiters = outcome(self.queue[at].completion(number)?);
        // After the outcome is in: the block may be the last owner of the completions.
        self.settled_at(at, 1);
        Some(waiters)
    }

    /// Gives up all calls: `each` gets the numbers and completions of those that are not
    /// settled.
    #[inline]
    pub(crate) fn drain_completions(&mut self, mut each: impl FnMut(u64, &Completion)) {
        self.bytes = 0;
        while let Some(block) = self.queue.pop_front() {
            // Completions beyond the items were made ahead, and no handle has them.
            let completions = block.batch.iter().flat_map(|batch| batch.completions()).take(block.items as usize);
            let numbered = (block.first..).zip(completions);
            numbered
                .filter(|(_, completion)| !completion.is_finished())
                .for_each(|(call, completion)| each(call, completion));
        }
    }

    /// The bytes of each item of this one's block, on average.
    pub(crate) fn item_bytes(&self, item: u64) -> u64 {
        // 0 for an item without a block: it has ended, and takes no room.
        self.position(item).map_or(0, |at| self.queue[at].item_bytes())
    }

    /// Items of one block of a map are pending from now on, so their bytes count.
    pub(crate) fn count(&mut self, first: u64, items: u32) {
        let Some(at) = self.position(first) else { return };
        let block = &mut self.queue[at];
        // An average: to know each size would take a walk over the block, and the sum is right.
        let bytes = block.item_bytes() * u64::from(items);
        block.counted += bytes;
        self.bytes += bytes;
    }

    /// Drops all arguments.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        (self.empty, self.bytes) = (0, 0);
    }

    /// The change in bytes of arguments since the last time.
    #[inline]
    pub(crate) fn take_change(&mut self) -> i64 {
        // As a difference, so that the engine keeps the sum over all jobs without asking each of them.
        let change = self.bytes.wrapping_sub(self.seen_bytes).cast_signed();
        self.seen_bytes = self.bytes;
        change
    }

    /// Whether no block is left, and the buffers are small.
    #[inline]
    pub(crate) fn is_small(&self) -> bool {
        self.queue.capacity() <= 8 && self.spare.iter().all(|bytes| bytes.capacity() <= BESIDE_MAX)
    }

    /// The arguments of these items, which were fed together.
    #[inline]
    pub(crate) fn args(&mut self, first: u64, items: u32) -> Option<Args<'_>> {
        let at = self.position(first)?;
        let block = &mut self.queue[at];
        let item = (first - block.first) as u32;
        let range = block.offset(item)..block.offset(item + items);
        let attachments = block.attachments.as_ref();
        Some(Args { raw: block.raw, timed: block.given_ns > 0, attachments, content: &mut block.bytes, range })
    }

    /// When the pool got the item, if its times are asked for.
    pub(crate) fn given_ns(&self, item: u64) -> Option<Nanos> {
        let block = &self.queue[self.position(item)?];
        Some(block.given_ns).filter(|given| *given > 0)
    }

    /// These items are settled: their arguments can go when their block is through.
    #[inline]
    pub(crate) fn settled(&mut self, first: u64, items: u32) {
        if let Some(at) = self.position(first) {
            self.settled_at(at, items);
        }
    }

    #[inline]
    fn settled_at(&mut self, at: usize, items: u32) {
        let block = &mut self.queue[at];
        if block.left == 0 {
            return; // it is empty already
        }
        block.left = block.left.saturating_sub(items);
        if block.left > 0 {
            // Arguments of calls stay until all of the block have ended.
            if block.counted > 0 && block.batch.is_none() {
                let gone = (block.item_bytes() * u64::from(items)).min(block.counted);
                block.counted -= gone;
                self.bytes -= gone;
            }
            return;
        }
        self.bytes -= std::mem::take(&mut block.counted);
        if let Some(bytes) = self.remove(at).into_own()
            // Bounded: a burst must not leave its memory behind for good.
            && self.spare.len() < SPARE_MAX
        {
            self.spare.push(bytes);
        }
    }

    /// Where the block of this item is. It may be an empty one.
    #[inline]
    fn position(&self, item: u64) -> Option<usize> {
        let last = self.last_position.get();
        if self.queue.get(last).is_some_and(|block| block.holds(item)) {
            return Some(last);
        }
        let position = self.search(item);
        self.last_position.set(position.unwrap_or(0));
        position
    }

    #[inline]
    fn search(&self, item: u64) -> Option<usize> {
        // Items settle mostly in order, so a walk over a few beats any search.
        let front = self.queue.iter().take(FRONT_BLOCKS).position(|block| block.holds(item));
        front.or_else(|| self.position_behind(item))
    }

    /// Likewise for the blocks behind those, in a time that grows with the logarithm of how far it is from the nearer end.
    fn position_behind(&self, item: u64) -> Option<usize> {
        let last = self.queue.len().checked_sub(1)?;
        let is_before = |at: usize| self.queue[at].end() <= item;
        // All before `low` end before the item, and `high` does not.
        let (mut low, mut high, mut step) = (0, last, 1);
        if is_before(last) {
            return None;
        }
        // From both ends, in steps that double, until it is between two looks.
        while high - low > 2 * step {
            if !is_before(low + step) {
                high = low + step;
                break;
            }
            low += step;
            if is_before(high - step) {
                low = high - step;
                break;
            }
            high -= step;
            step *= 2;
        }
        while low < high {
            let middle = low.midpoint(high);
            if is_before(middle) { low = middle + 1 } else { high = middle }
        }
        self.queue[low].holds(item).then_some(low)
    }

    /// Takes out a settled block and returns its bytes. In the middle of many it stays as an empty one, since to close
    /// the gap would mean to move half of the others, and all that are empty go together when they are the greater part.
    #[inline]
    fn remove(&mut self, at: usize) -> Content {
        // Mostly it is the first, and `remove` has more to do.
        let removed = if at == 0 {
            self.queue.pop_front()
        } else if at.min(self.queue.len() - 1 - at) <= MOVED_MAX {
            self.queue.remove(at)
        } else {
            return self.empty(at);
        };
        if self.empty > 0 {
            self.drop_empty();
        }
        removed.expect("there is a block").bytes
    }

    #[cold]
    fn empty(&mut self, at: usize) -> Content {
        let block = &mut self.queue[at];
        (block.batch, block.attachments) = (None, None);
        let bytes = std::mem::replace(&mut block.bytes, Content::Own(Vec::new()));
        self.empty += 1;
        self.drop_empty();
        bytes
    }

    /// Drops the empty blocks at the ends, and the others when they are the greater part.
    #[cold]
    fn drop_empty(&mut self) {
        let is_empty = |block: Option<&Block>| block.is_some_and(|block| block.left == 0);
        while is_empty(self.queue.front()) {
            self.queue.pop_front();
            self.empty -= 1;
        }
        while is_empty(self.queue.back()) {
            self.queue.pop_back();
            self.empty -= 1;
        }
        // A sweep moves the rest; at half it costs a constant for each block that goes.
        if self.empty > self.queue.len() / 2 {
            self.queue.retain(|block| block.left > 0);
            self.empty = 0;
        }
    }
}

#[cfg(test)]
mod tests;
