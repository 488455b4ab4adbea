//! Encoded arguments and results: a few bytes in place, more on the heap.

use std::ops::{Deref, Range};
use std::sync::Arc;

use pool_ipc::{Consumer, Record, Written};

use crate::attachments::Attachments;
use crate::attachments::received::{Received, ReceivedArray};
use crate::codec::encoder::Spill;

/// Bytes kept in place: as many as leave [`Bytes`] no larger than a vector.
pub(crate) const INLINE: usize = 15;

/// Owned bytes. Most calls of small functions need no allocation for them.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// Only the first `length` bytes are valid.
    Inline([u8; INLINE], u8),
    Heap(Vec<u8>),
    /// They name arrays.
    Naming(Box<Naming>),
    /// Large arguments, in the memory where workers read them.
    InArena(Box<(Written, Range<usize>)>),
}

/// Bytes, and the arrays that they name.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(crate) bytes: Vec<u8>,
    pub(crate) arrays: Arrays,
}

#[derive(Debug)]
pub(crate) enum Arrays {
    OfArguments(Arc<Attachments>),
    OfResult(Arc<Received>),
}

// A completion holds one, and millions of them may be pending.
const _: () = assert!(size_of::<Bytes>() == size_of::<Vec<u8>>());

impl Bytes {
    #[inline]
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE {
            return Bytes::Heap(bytes.to_vec());
        }
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Bytes::Inline(inline, bytes.len() as u8)
    }

    /// Drops them. Those in place own nothing, which is seen without a call of the destructor.
    #[inline]
    pub(crate) fn discard(self) {
        if matches!(self, Bytes::Inline(..)) {
            std::mem::forget(self);
        }
    }

    /// The payload of a record.
    #[inline]
    pub(crate) fn of_record(ring: &Consumer, record: &Record) -> Self {
        if record.len > INLINE {
            let mut bytes = Vec::new();
            // Out of the ring at once, since its memory is released to the worker, which may write it any time.
            ring.copy(record, &mut bytes);
            return Bytes::Heap(bytes);
        }
        // A copy of two words is two loads; one of a length known only now would call `memcpy`.
        Bytes::of_words(ring.start(record), record.len as u8)
    }

    /// The first `length` bytes of the words, as they lie in memory.
    #[inline]
    pub(crate) fn of_words(words: [u64; 2], length: u8) -> Self {
        // In the machine's order, since the words were loaded from bytes in that order.
        let words = words.map(u64::to_ne_bytes);
        let (bytes, _) = words.as_flattened().split_first_chunk().expect("two words are more");
        Bytes::Inline(*bytes, length)
    }

    /// Takes the last `N` bytes off; `None` if there are fewer.
    pub(crate) fn split_tail<const N: usize>(&mut self) -> Option<[u8; N]> {
        let rest = self.len().checked_sub(N)?;
        let tail = self[rest..].try_into().ok()?;
        match self {
            Bytes::Inline(_, length) => *length = rest as u8,
            Bytes::Heap(bytes) => bytes.truncate(rest),
            Bytes::Naming(naming) => naming.bytes.truncate(rest),
            Bytes::InArena(place) => place.1.end = place.1.start + rest,
        }
        Some(tail)
    }

    /// Arguments in memory of their own that name these arrays, if there are any.
    pub(crate) fn of_spill(spill: Spill, list: Attachments) -> Self {
        match spill {
            Spill::InArena(segment, range) if list.is_empty() => Bytes::InArena(Box::new((segment.finish(), range))),
            spill if list.is_empty() => Bytes::Heap(spill.into_vec()),
            spill => {
                let arrays = Arrays::OfArguments(Arc::new(list));
                Bytes::Naming(Box::new(Naming { bytes: spill.into_vec(), arrays }))
            }
        }
    }

    /// The bytes of arguments, and the arrays that they name.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Arc<Attachments>) {
        match self {
            Bytes::Naming(naming) => match naming.arrays {
                Arrays::OfArguments(list) => (naming.bytes, list),
                Arrays::OfResult(_) => (naming.bytes, Arc::default()),
            },
            bytes => (bytes.into_vec(), Arc::default()),
        }
    }

    /// A result that names these arrays.
    pub(crate) fn with_received(self, arrays: Vec<ReceivedArray>) -> Self {
        let received = Received { arrays: arrays.into(), is_copy: false };
        Bytes::Naming(Box::new(Naming { bytes: self.into_vec(), arrays: Arrays::OfResult(Arc::new(received)) }))
    }

    /// The arrays of a result.
    #[inline]
    pub(crate) fn received(&self) -> Option<&Arc<Received>> {
        match self {
            Bytes::Naming(naming) => match &naming.arrays {
                Arrays::OfResult(received) => Some(received),
                Arrays::OfArguments(_) => None,
            },
            _ => None,
        }
    }

    /// The same bytes once more, to be looked at while these stay.
    pub(crate) fn duplicate(&self) -> Self {
        let copy = Bytes::copy_of(self);
        let Some(received) = self.received() else { return copy };
        let received = Received { arrays: Arc::clone(&received.arrays), is_copy: true };
        Bytes::Naming(Box::new(Naming { bytes: copy.into_vec(), arrays: Arrays::OfResult(Arc::new(received)) }))
    }

    /// All of it as a vector, without a copy unless it is a few bytes, or in the arena.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Bytes::Inline(..) | Bytes::InArena(_) => self.to_vec(),
            Bytes::Heap(bytes) => bytes,
            Bytes::Naming(naming) => naming.bytes,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Inline(bytes, length) => &bytes[..usize::from(*length)],
            Bytes::Heap(bytes) => bytes,
            Bytes::Naming(naming) => &naming.bytes,
            Bytes::InArena(place) => &place.0[place.1.clone()],
        }
    }
}

/// A part of shared bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) range: Range<usize>,
}

impl From<Vec<u8>> for Cut {
    fn from(bytes: Vec<u8>) -> Self {
        Cut { range: 0..bytes.len(), bytes: Arc::new(bytes) }
    }
}

impl Deref for Cut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}
