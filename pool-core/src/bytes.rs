//! Encoded arguments and results: a few bytes in place, more on the heap.

use std::ops::{Deref, Range};
use std::sync::Arc;

const INLINE: usize = 22;

/// Owned bytes. Most calls of small functions need no allocation for them.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    Inline(u8, [u8; INLINE]),
    Heap(Arc<Vec<u8>>),
}

impl Bytes {
    pub(crate) const EMPTY: Bytes = Bytes::Inline(0, [0; INLINE]);

    /// `length` bytes that `fill` writes.
    pub(crate) fn filled(length: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        if length > INLINE {
            let mut bytes = vec![0; length];
            fill(&mut bytes);
            return Bytes::from(bytes);
        }
        let mut inline = [0; INLINE];
        fill(&mut inline[..length]);
        Bytes::Inline(length as u8, inline)
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Bytes::filled(bytes.len(), |to| to.copy_from_slice(bytes))
    }

    /// All of it, to be read elsewhere; without a copy unless it is a few bytes.
    pub(crate) fn to_cut(&self) -> Cut {
        let bytes = match self {
            Bytes::Inline(..) => Arc::new(self.to_vec()),
            Bytes::Heap(bytes) => Arc::clone(bytes),
        };
        Cut { range: 0..bytes.len(), bytes }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::Heap(Arc::new(bytes))
    }
}

/// A part of shared bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) range: Range<usize>,
}

impl Deref for Cut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Bytes::Heap(bytes) => bytes,
        }
    }
}

const _: () = assert!(size_of::<Bytes>() <= 32);
