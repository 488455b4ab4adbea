//! The limits of a value, for bytes that a worker wrote: however they lie, decoding them takes bounded time and stack.
//!
//! Two lies would do harm. A sequence of elements that take no bytes may claim 2^60 of them, and nothing in the bytes
//! contradicts it. And a type that contains itself (a list, a tree) is decoded by a function that calls itself, as deep
//! as the bytes say, until the thread's stack overflows and takes the program along.
//!
//! So both formats count with [`ReadLimits`] at every place where either could happen. Workers decode arguments the same
//! way; they trust their host, and the limits do no harm there. The serializers have the same limits on the other side, so
//! that a value that nobody could decode fails where it is encoded, before it has taken the stack or the memory there.

use crate::codec::error::CodecError;
use crate::codec::limits::nesting::{COPIES, EMPTY_ELEMENTS_MAX, Excess, Nesting, refused};
use crate::process::stack;

pub(crate) mod nesting;
pub(crate) mod write;

/// For values of more bytes than this, the stack that is left is measured before they are decoded.
const LARGE_BYTES: usize = 4 << 10;

/// Checks that the stack holds the copies of a `T` that are made while one is decoded. To be called before any function
/// with a `T` in its frame is entered.
///
/// # Errors
///
/// The stack does not hold them.
#[inline(always)]
pub(crate) fn check_stack<T>() -> Result<(), CodecError> {
    if const { size_of::<T>() <= LARGE_BYTES } {
        return Ok(());
    }
    // A small type ends above, when the program is compiled, so only large ones pay for the measurement.
    let stack_bytes = stack::left();
    if stack_bytes / COPIES < size_of::<T>() {
        return Err(refused(Excess::Large { bytes: size_of::<T>(), stack_bytes }));
    }
    Ok(())
}

/// The limits of one value that is being read, and how much of them is left.
#[derive(Debug)]
pub(crate) struct ReadLimits {
    bytes: usize,
    elements: usize,
    pub(crate) nesting: Nesting,
}

impl ReadLimits {
    #[inline]
    pub(crate) fn new(bytes: usize) -> Self {
        // Honest elements take a byte each, so there are no more of them than bytes, but for those that take none.
        ReadLimits { bytes, elements: bytes.saturating_add(EMPTY_ELEMENTS_MAX), nesting: Nesting::new() }
    }

    /// A sequence or map begins, which claims to have so many elements.
    #[inline(always)]
    pub(crate) fn begin(&mut self, claimed: usize) -> Result<(), CodecError> {
        match self.elements.checked_sub(claimed) {
            Some(left) => self.elements = left,
            None => return Err(self.nesting.refuse(Excess::Elements { claimed, bytes: self.bytes })),
        }
        Ok(())
    }

    /// Elements to set memory aside for. The hints of one value add up to little more than its bytes, since
    /// [`ReadLimits::begin`] lets pass no more.
    #[inline(always)]
    pub(crate) fn hint(&self, claimed: usize) -> usize {
        // A lie costs no more memory than the bytes of the value allow: elements that take none need no memory either.
        claimed.min(self.bytes)
    }

    /// A `T` is about to be read.
    #[inline(always)]
    pub(crate) fn check_room<T>(&mut self) -> Result<(), CodecError> {
        if const { size_of::<T>() <= LARGE_BYTES } {
            return Ok(());
        }
        let stack_bytes = stack::left();
        if stack_bytes / COPIES < size_of::<T>() {
            return Err(self.nesting.refuse(Excess::Large { bytes: size_of::<T>(), stack_bytes }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
