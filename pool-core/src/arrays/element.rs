//! The size of an element, and errors about its memory.

use std::num::NonZeroUsize;

use bytemuck::Pod;

use crate::error::{Error, ErrorKind, Result};

/// Bytes of `len` elements.
pub(super) fn bytes_of<T: Pod>(len: usize) -> Result<usize> {
    len.checked_mul(element_bytes::<T>().get()).ok_or_else(|| {
        let text = format!("{len} elements of {} bytes are past every address", size_of::<T>());
        Error::new(ErrorKind::TooLarge, text)
    })
}

/// Bytes of an element: an array of elements without bytes would be of no memory and any length.
pub(super) fn element_bytes<T: Pod>() -> NonZeroUsize {
    // An error of the compiler, not of the program: the size is known when the type is.
    const { NonZeroUsize::new(size_of::<T>()).expect("a shared array has elements of at least one byte") }
}

pub(super) fn memory_error(error: pool_ipc::Error) -> Error {
    Error::memory("of an array", error)
}
