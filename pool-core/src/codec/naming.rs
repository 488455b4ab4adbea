//! The arrays that values name while they are encoded.

use crate::attachments::scope::Side;
use crate::attachments::{ARRAYS_MAX, Attachments, add};
use crate::codec::error::CodecError;

/// The list for the arrays of some values, and how such values travel.
#[derive(Debug)]
pub(super) struct Naming<'b> {
    list: &'b mut Attachments,
    pub(super) side: Side,
    /// A value that names an array goes to memory of its own, so that the way of all others need not ask.
    alone: bool,
    /// Start of the item that named an array last, and the number of arrays before it.
    item: (usize, usize),
}

/// Arrays after which no further items are put beside those that name them.
const ARRAYS_TOGETHER: usize = 64;

impl<'b> Naming<'b> {
    #[inline]
    pub(super) fn new(list: &'b mut Attachments, side: Side, alone: bool) -> Self {
        Naming { list, side, alone, item: (0, 0) }
    }

    #[inline]
    pub(super) fn is_many(&self) -> bool {
        self.list.len() >= ARRAYS_TOGETHER
    }

    /// Adds arrays of the item that begins at `start`. True if the item must travel alone.
    ///
    /// # Errors
    ///
    /// The item names too many.
    #[cold]
    pub(super) fn add(&mut self, start: usize, new: Attachments) -> Result<bool, CodecError> {
        // Arrays that earlier items of the list have named do not count against this one.
        if self.list.is_empty() || self.item.0 != start {
            self.item = (start, self.list.len());
        }
        for attachment in new {
            add(self.list, attachment);
        }
        if self.list.len() - self.item.1 > ARRAYS_MAX {
            return Err(CodecError::new(format!("a value names more than {ARRAYS_MAX} arrays")));
        }
        Ok(self.alone)
    }
}
