//! The limits where a value is encoded.

use super::nesting::{EMPTY_ELEMENTS_MAX, Excess, Nesting, refused};
use crate::codec::error::CodecError;

/// Checks a sequence of elements that take `size` bytes each, before there is memory for it.
///
/// # Errors
///
/// They take no bytes and are too many, or they take more than a value may.
#[inline]
pub(crate) fn check_sequence(elements: usize, size: usize) -> Result<(), CodecError> {
    // The product may pass the address space: a slice of `()` can have `usize::MAX` elements.
    let bytes = elements.saturating_mul(size);
    if size == 0 && elements > EMPTY_ELEMENTS_MAX {
        Err(refused(Excess::EmptyElements))
    } else if bytes > BYTES_MAX {
        Err(refused(Excess::Bytes))
    } else {
        Ok(())
    }
}

/// Bytes of the longest value: its length is sent as a `u32`.
const BYTES_MAX: usize = u32::MAX as usize;

/// How much one value has taken of its limits while it is written.
#[derive(Debug)]
pub(crate) struct WriteLimits {
    empty_elements: usize,
    pub(crate) nesting: Nesting,
}

impl WriteLimits {
    #[inline]
    pub(crate) fn new() -> Self {
        WriteLimits { empty_elements: 0, nesting: Nesting::new() }
    }

    /// Text or bytes of any length are about to be written behind so many. Numbers need no such check: a value that never
    /// ends has elements, or long text.
    #[inline(always)]
    pub(crate) fn check(&mut self, written_bytes: usize, more_bytes: usize) -> Result<(), CodecError> {
        if written_bytes.saturating_add(more_bytes) > BYTES_MAX {
            Err(self.nesting.refuse(Excess::Bytes))
        } else {
            Ok(())
        }
    }

    /// An element of a sequence or map has been written, from `start` to `end`. A value that never ends is refused before
    /// it has taken all memory.
    #[inline(always)]
    pub(crate) fn end_element(&mut self, start: usize, end: usize) -> Result<(), CodecError> {
        // The elements that take bytes are limited by the bytes.
        if start == end {
            self.empty_elements += 1;
            if self.empty_elements > EMPTY_ELEMENTS_MAX {
                return Err(self.nesting.refuse(Excess::EmptyElements));
            }
        }
        if end > BYTES_MAX { Err(self.nesting.refuse(Excess::Bytes)) } else { Ok(()) }
    }
}
