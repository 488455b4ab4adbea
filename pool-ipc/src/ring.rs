//! One direction of a lane: a ring of bytes with one producer and one consumer.
//!
//! The algorithm is Lamport's single-producer queue with cached indices, over records instead of slots. Positions count
//! bytes since the ring was made and only grow, so `tail - head` is the fill and no state is ambiguous. Differences from the
//! textbook:
//!
//! * The two indices lie in different memory, each writable in the process of its writer only. An end keeps its own
//!   index in private memory and never reads it back.
//! * The peer's index is *input*: it is used only if an honest peer could have written it.
//! * Loads of the peer's index are Relaxed with an Acquire fence after them, because read-only memory allows no other
//!   atomic loads.
//! * A ring may begin with a part of its memory, its *extent*, and grow in place. Positions count the whole capacity: where
//!   the extent ends short of it, a pad leads from there to the next multiple of the capacity, which is the ring's start. A
//!   pad takes up positions, but no memory.
//!
//! # Invariants
//! * No record lies beyond the extent, and none is read there: the kernel may have no memory for it, and would kill the
//!   reader (SIGBUS).
//! * `head <= tail <= head + capacity`, all multiples of 32: of the private values always, of the shared ones if the
//!   peer is honest.
//! * Bytes from `head` to `tail` are records and belong to the consumer; the others belong to the producer.
//!
//! # Hand-overs
//! Each label stands at both ends, with the name of the loom model in `tests/loom` that checks it.
//!
//! * SYNC TAIL: the producer's store of `tail` (Release) and the consumer's load hand over the bytes of records.
//! * SYNC HEAD: the consumer's store of `head` (Release) and the producer's load hand the bytes back. Without it a read could
//!   be delayed past the moment when the producer writes there again.
//! * SYNC CLAIM, SYNC STAMP and SYNC UNPUBLISHED: see progress.rs.
//! * SYNC BELL and SYNC LED: see doorbell.rs. SYNC LAST WORDS: see last_words.rs.

use std::cell::Cell;
use std::marker::PhantomData;

use super::record::HEADER_BYTES;

/// Makes an end of a ring `!Sync`: it may move to another thread but not be shared, since each index has one writer.
pub(crate) type OneThread = PhantomData<Cell<()>>;

/// The place where `bytes` payload bytes of a record at `position` end. A place and not a number of bytes, so it means nothing
/// once that record is published. 32 bits are enough to be unique within a ring of at most 2^30 bytes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are enough")]
pub(crate) fn unpublished_end_of(position: u64, bytes: usize) -> u32 {
    // One half of a word: it is stored together with the item's number, so that both always agree.
    (position as u32).wrapping_add(HEADER_BYTES as u32).wrapping_add(bytes as u32)
}

/// Extent from which on a ring that would be faster if it were larger does not grow at once.
const CHEAP_EXTENT: usize = 64 << 10;

/// Rounds that such a ring makes before it grows. The kernel takes some microseconds for each page of fresh memory on a virtual
/// machine, which a short map would not earn back: so at most a sixteenth of the bytes that a ring carries go to fresh pages.
const ROUNDS_PER_GROWTH: u64 = 16;

/// True if a ring has been used so much, since the position at which it got this extent, that growth is worth its memory.
#[inline]
pub(crate) fn has_earned_growth(grown_at: u64, position: u64, capacity: usize, extent: usize) -> bool {
    let round = |position: u64| position / capacity as u64;
    extent < CHEAP_EXTENT || round(position) >= round(grown_at) + ROUNDS_PER_GROWTH
}

/// True if the bytes between two positions lie in one piece and are more than half of the extent. With a pad between them,
/// growth would give no room before the next round, since the producer has left the end of the extent.
#[inline]
pub(crate) fn is_crowded(head: u64, tail: u64, capacity: usize, extent: usize) -> bool {
    let round = |position: u64| position / capacity as u64;
    round(head) == round(tail) && tail - head > extent as u64 / 2
}
