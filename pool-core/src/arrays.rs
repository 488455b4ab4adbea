//! Arrays in shared memory: every worker reads the host's pages, and nothing is copied.
//!
//! A [`SharedVec`] is filled by one process. [`SharedVec::freeze`] seals its memory against writing by anybody and makes a
//! [`SharedSlice`] of it, whose clones and parts are as cheap as an `Arc`.

mod slice;
mod vec;

use std::num::NonZeroUsize;

use bytemuck::Pod;

pub use self::slice::{SharedChunks, SharedSlice};
pub use self::vec::SharedVec;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of `len` elements.
fn bytes_of<T: Pod>(len: usize) -> Result<usize> {
    len.checked_mul(element_bytes::<T>().get()).ok_or_else(|| {
        let text = format!("{len} elements of {} bytes are past every address", size_of::<T>());
        Error::new(ErrorKind::TooLarge, text)
    })
}

/// Bytes of an element: an array of elements without bytes would be of no memory and any length.
fn element_bytes<T: Pod>() -> NonZeroUsize {
    const { NonZeroUsize::new(size_of::<T>()).expect("a shared array has elements of at least one byte") }
}

fn memory_error(error: pool_ipc::Error) -> Error {
    Error::memory("of an array", error)
}
