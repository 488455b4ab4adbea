//! The memory that holds the arguments of a block.

use std::ops::{Deref, Range};
use std::sync::Arc;

use pool_ipc::Written;

use crate::attachments::Attachments;
use crate::codec::bytes::{Arrays, Bytes};
use crate::codec::encoder::Spill;

/// The bytes of a block: its own, until a lane has to keep some of them, too.
#[derive(Debug)]
pub(crate) enum Content {
    Own(Vec<u8>),
    Shared(Arc<Vec<u8>>),
    /// These bytes of a segment of the arena.
    InArena(Written, Range<usize>),
}

impl From<Spill> for Content {
    fn from(spill: Spill) -> Self {
        match spill {
            Spill::Heap(bytes) => Content::Own(bytes),
            Spill::InArena(segment, range) => Content::InArena(segment.finish(), range),
        }
    }
}

impl Content {
    /// Large arguments of a call or a broadcast, and the arrays that they name.
    pub(crate) fn of_args(args: Bytes) -> (Content, Option<Arc<Attachments>>) {
        match args {
            Bytes::InArena(place) => (Content::InArena(place.0, place.1), None),
            Bytes::Naming(naming) => match naming.arrays {
                Arrays::OfArguments(list) => (Content::Own(naming.bytes), Some(list)),
                Arrays::OfResult(_) => (Content::Own(naming.bytes), None),
            },
            // Encoded into memory of their own, which becomes the block's.
            bytes => (Content::Own(bytes.into_vec()), None),
        }
    }

    /// The same bytes for another block.
    pub(crate) fn again(&mut self) -> Content {
        match self {
            Content::InArena(segment, range) => Content::InArena(segment.clone(), range.clone()),
            own => Content::Shared(own.share()),
        }
    }

    pub(super) fn share(&mut self) -> Arc<Vec<u8>> {
        match self {
            Content::Shared(bytes) => Arc::clone(bytes),
            Content::Own(bytes) => {
                let bytes = Arc::new(std::mem::take(bytes));
                // Moved into the `Arc` without a copy; the block reads the same bytes through it from now on.
                *self = Content::Shared(Arc::clone(&bytes));
                bytes
            }
            // A request in the arena sends the place alone, and holds the segment until its reply is complete.
            Content::InArena(..) => unreachable!("a lane keeps the segment itself"),
        }
    }

    /// Returns the memory, if it is not shared.
    #[inline]
    pub(super) fn into_own(self) -> Option<Vec<u8>> {
        match self {
            Content::Own(bytes) => Some(bytes),
            // A lane may still be sending from it; then the lane frees it.
            Content::Shared(bytes) => Arc::into_inner(bytes),
            Content::InArena(..) => None,
        }
    }
}

impl Deref for Content {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Content::Own(bytes) => bytes,
            Content::Shared(bytes) => bytes,
            Content::InArena(segment, range) => &segment[range.clone()],
        }
    }
}
