//! A block: encoded arguments of consecutive items that can travel together; with those of calls, the completions for
//! their outcomes.

use std::ops::Range;
use std::sync::Arc;

use pool_ipc::Written;

use crate::attachments::{Attachment, Attachments};
use crate::codec::bytes::Cut;
use crate::codec::encoder::FRAME;
use crate::job::batch::{Batch, CompletionRef};
use crate::job::completion::Completion;
use crate::job::content::Content;
use crate::lane::messages::RECORD_BYTES;
use crate::units::Nanos;

/// Arguments of a call that are no longer than this are kept beside those of the call before.
pub(super) const BESIDE_MAX: usize = 4096;

/// Encoded arguments of consecutive items.
#[derive(Debug)]
pub(crate) struct Block {
    pub(super) first: u64,
    pub(super) items: u32,
    /// Items that are not settled; 0 only if the block was left empty in its place.
    pub(super) left: u32,
    /// Bytes of each item; `None` if each stands behind its length.
    pub(super) item_size: Option<usize>,
    /// They are the only argument of the only item, without a frame.
    pub(super) raw: bool,
    /// Completions of calls, one for each and some to spare; a map's block has none.
    pub(super) batch: Option<Arc<Batch>>,
    pub(super) bytes: Content,
    /// The arrays that the arguments name.
    pub(super) attachments: Option<Arc<Attachments>>,
    /// When the pool got the items, if their times are asked for; else 0.
    pub(super) given_ns: Nanos,
    /// The part of `Blocks::bytes` that is this block's.
    pub(super) counted: u64,
    /// An item and where it begins: chunks are mostly cut one after the other.
    pub(super) cursor: (u32, usize),
}

impl Block {
    #[inline]
    pub(crate) fn new(first: u64, items: u32, item_size: Option<usize>, bytes: Content) -> Self {
        Block {
            first,
            items,
            left: items,
            item_size,
            raw: false,
            batch: None,
            bytes,
            attachments: None,
            given_ns: 0,
            counted: 0,
            cursor: (0, 0),
        }
    }

    /// Asks for the times of its items, which the pool gets now.
    pub(crate) fn ask_times(&mut self, now: Nanos) {
        self.given_ns = now;
    }

    /// The same, of one argument without a frame.
    #[cfg(feature = "remote")]
    pub(crate) fn raw(self) -> Self {
        Block { raw: true, ..self }
    }

    /// Its arguments name these arrays.
    pub(crate) fn attach(&mut self, list: &[Attachment]) {
        if !list.is_empty() {
            self.attachments = Some(Arc::new(list.to_vec()));
        }
    }

    /// The first of its items, and how many there are.
    #[inline]
    pub(crate) fn range(&self) -> (u64, u32) {
        (self.first, self.items)
    }

    /// All of its arguments.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.items)
    }

    #[inline]
    pub(super) fn holds(&self, item: u64) -> bool {
        (self.first..self.end()).contains(&item)
    }

    /// Where the item begins.
    #[inline]
    pub(super) fn offset(&mut self, item: u32) -> usize {
        if item == 0 {
            return 0;
        }
        // Asked for each chunk that ends its block; a walk over the frames would find the same.
        if item == self.items {
            return self.bytes.len();
        }
        if let Some(size) = self.item_size {
            return item as usize * size;
        }
        // Items that came back from a worker are sent again, from further in front.
        if item < self.cursor.0 {
            self.cursor = (0, 0);
        }
        let (mut at_item, mut at) = self.cursor;
        while at_item < item {
            let frame = self.bytes[at..at + FRAME].try_into().expect("a frame's length");
            at += FRAME + u32::from_le_bytes(frame) as usize;
            at_item += 1;
        }
        self.cursor = (at_item, at);
        at
    }

    /// Bytes of each item, on average.
    pub(super) fn item_bytes(&self) -> u64 {
        // Good enough for a bound on memory: the sum over a block is exact.
        (self.bytes.len() as u64).checked_div(self.items.into()).unwrap_or(0)
    }

    /// Takes the call behind the last, if its arguments can stand there.
    #[inline]
    pub(super) fn add(&mut self, number: u64, args: &[u8]) -> Option<CompletionRef> {
        let batch = self.batch.as_ref().filter(|batch| batch.completions().len() > self.items as usize)?;
        // A raw block is one value without a frame; a gap in the numbers would assign outcomes to the wrong calls.
        if self.raw || self.end() != number || args.len() > BESIDE_MAX {
            return None;
        }
        // Bytes that a lane shares must not move, and those in the arena are sealed.
        let Content::Own(bytes) = &mut self.bytes else { return None };
        // A block travels in one record, or in pieces, which cannot be recalled.
        if bytes.len() + args.len() > RECORD_BYTES {
            return None;
        }
        bytes.extend_from_slice(args);
        // Counted with the block, since its memory is freed as a whole.
        self.counted += args.len() as u64;
        let completion = CompletionRef::new(batch, self.items);
        self.items += 1;
        self.left += 1;
        Some(completion)
    }

    /// The completion of a call that is not settled.
    #[inline]
    pub(super) fn completion(&self, number: u64) -> Option<&Completion> {
        // A settled call stays in its block until the others are through, and must not be found.
        let completion = self.batch.as_ref()?.completions().get((number - self.first) as usize)?;
        (!completion.is_finished()).then_some(completion)
    }
}

/// Arguments of items that go in one chunk.
pub(crate) struct Args<'b> {
    /// They travel whole.
    pub(crate) raw: bool,
    /// The times of the items are asked for.
    pub(crate) timed: bool,
    /// The arrays that they name.
    pub(crate) attachments: Option<&'b Arc<Attachments>>,
    pub(super) content: &'b mut Content,
    pub(super) range: Range<usize>,
}

impl Args<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.content[self.range.clone()]
    }

    /// Where workers find them, if they need not be sent.
    #[inline]
    pub(crate) fn in_arena(&self) -> Option<(&Written, Range<usize>)> {
        match &*self.content {
            Content::InArena(segment, all) => Some((segment, all.start + self.range.start..all.start + self.range.end)),
            _ => None,
        }
    }

    /// The bytes, to be kept elsewhere, too, if they are not in the arena.
    pub(crate) fn cut(self) -> Cut {
        Cut { bytes: self.content.share(), range: self.range }
    }
}
