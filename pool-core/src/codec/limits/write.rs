//! The limits where a value is encoded.

use serde::ser::Error;

use super::{EMPTY_ELEMENTS_MAX, Excess, Stack, refused};
use crate::codec::error::CodecError;

/// The check of a sequence whose elements take `size` bytes each, before there is memory for it.
///
/// # Errors
///
/// They take no bytes and are too many, or they take more than a value may.
#[inline]
pub(crate) fn check_sequence(elements: usize, size: usize) -> Result<(), CodecError> {
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
    written_bytes: usize,
    empty_elements: usize,
    /// Options, enums, sequences and maps around the place that is being written.
    depth: u32,
    stack: Stack,
    excess: Option<Excess>,
}

impl WriteLimits {
    #[inline]
    pub(crate) fn new() -> Self {
        WriteLimits { written_bytes: 0, empty_elements: 0, depth: 0, stack: Stack::new(), excess: None }
    }

    /// The limit that was passed. It counts even where the value was written, because an implementation of `Serialize` may
    /// have swallowed the error.
    #[inline]
    pub(crate) fn excess(&self) -> Option<CodecError> {
        self.excess.map(refused)
    }

    #[inline(always)]
    pub(crate) fn written_bytes(&self) -> usize {
        self.written_bytes
    }

    /// A few bytes are about to be written. They need no check: a value that never ends has elements, or long text.
    #[inline(always)]
    pub(crate) fn count(&mut self, bytes: usize) {
        self.written_bytes = self.written_bytes.wrapping_add(bytes);
    }

    /// Bytes of any number are about to be written.
    #[inline(always)]
    pub(crate) fn check<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        if bytes > BYTES_MAX - self.written_bytes.min(BYTES_MAX) {
            return Err(self.refuse(Excess::Bytes));
        }
        Ok(())
    }

    /// One level of nesting begins.
    #[inline(always)]
    pub(crate) fn enter<E: Error>(&mut self) -> Result<(), E> {
        if let Err(excess) = self.stack.check(self.depth) {
            return Err(self.refuse(excess));
        }
        self.depth += 1;
        Ok(())
    }

    /// The level ends.
    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// An element of a sequence or map has been written, before which there were `start` bytes. A value that never ends is
    /// refused before it has taken all memory.
    #[inline(always)]
    pub(crate) fn end_element<E: Error>(&mut self, start: usize) -> Result<(), E> {
        if self.written_bytes == start {
            self.empty_elements += 1;
            if self.empty_elements > EMPTY_ELEMENTS_MAX {
                return Err(self.refuse(Excess::EmptyElements));
            }
        }
        if self.written_bytes > BYTES_MAX { Err(self.refuse(Excess::Bytes)) } else { Ok(()) }
    }

    #[cold]
    fn refuse<E: Error>(&mut self, excess: Excess) -> E {
        self.excess = Some(excess);
        E::custom("past a limit")
    }
}
