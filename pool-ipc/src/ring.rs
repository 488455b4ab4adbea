//! One direction of a lane: a ring of bytes with one producer and one consumer.
//!
//! The algorithm is Lamport's single-producer queue with cached indices, over records instead of slots. Positions count
//! bytes since the ring was made and only grow, so `tail - head` is the fill and no state is
//! ambiguous. What differs from the textbook:
//!
//! * The two indices lie in different memory, each writable in the process of its writer only. An end keeps its own
//!   index in private memory and never reads it back.
//! * The peer's index is *input*: it is believed only if an honest peer could have written it.
//! * Loads of the peer's index are Relaxed with an Acquire fence after them, because read-only memory allows no other
//!   atomic loads.
//! * A ring may begin with a part of its memory, its *extent*, and grow in place. Positions do not know of that: where the
//!   extent ends short of the capacity, a pad leads from there to the next multiple of the capacity, which is the
//!   ring's start. It takes up positions, but no memory.
//!
//! # Invariants
//! * No record lies beyond the extent, nor any that is read: memory there may not have been taken from the kernel, whose
//!   answer to a reader could be SIGBUS.
//! * `head <= tail <= head + capacity`, all multiples of 32: of the private values always, of the shared ones if the
//!   peer is honest.
//! * Bytes from `head` to `tail` are records and belong to the consumer; the others belong to the producer.
//!
//! # Who pairs with whom
//! * SYNC TAIL: the producer's store of `tail` (Release) and the consumer's load hand over the bytes of records.
//! * SYNC HEAD: the consumer's store of `head` (Release) and the producer's load hand the bytes back: without it a copy
//!   could be delayed past the moment when the producer writes there again.
//! * SYNC CLAIM, SYNC STAMP: see `Marks::claim` in progress.rs.

use std::cell::Cell;
use std::marker::PhantomData;

use super::record::HEADER_BYTES;

/// Ends may move to another thread but not be shared: each index has one writer.
pub(crate) type OneThread = PhantomData<Cell<()>>;

/// A place in the ring rather than a number of bytes, so that it is of no value any more once the draft is published.
/// 32 bits tell it from any other within reach, since a ring has at most 2^30 bytes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are enough")]
pub(crate) fn unpublished_end_of(position: u64, bytes: usize) -> u32 {
    (position as u32).wrapping_add(HEADER_BYTES as u32).wrapping_add(bytes as u32)
}

/// Whether what lies between two positions is in one piece, and more than half of the extent. A pad in between leaps over
/// memory that there may not be, and what has been taken since then is of no use before the next round.
#[inline]
pub(crate) fn is_crowded(head: u64, tail: u64, capacity: usize, extent: usize) -> bool {
    let round = |position: u64| position / capacity as u64;
    round(head) == round(tail) && tail - head > extent as u64 / 2
}
