//! Runs of items of one size, encoded one behind the other, and the reasons for which a block goes off.

use crate::codec::CodecError;
use crate::codec::encoder::{Encoder, Spill};
use crate::task::Task;

/// The reason for which a block goes off.
pub(super) enum Filled {
    Enough,
    /// It has waited long enough for more.
    Late,
    /// A result has come.
    Overtaken,
    Ended,
    /// The item pulled last does not fit beside the others, so it goes alone.
    Oversized(Spill),
    /// The item pulled last goes nowhere.
    Unencodable(CodecError),
}

/// Counts items in one place, and tells the feed how many there were when it is done, also when the iterator panics.
pub(super) struct Tally<'f> {
    pub(super) done: usize,
    pub(super) pulled: &'f mut u64,
    pub(super) filled: &'f mut u32,
    pub(super) used: &'f mut usize,
    pub(super) size: usize,
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        // In `drop`, so that an iterator that panics leaves the counts right.
        *self.pulled += self.done as u64;
        *self.filled += self.done as u32;
        *self.used += self.done * self.size;
    }
}

/// Encodes an item into each place of `room`. Returns the reason if it ends before the last.
// The places are those of a slice of just this run, from which the compiler knows how often the loop runs.
#[inline(always)]
pub(super) fn fill_run<'a, T: Task>(
    items: &mut impl Iterator<Item = T::Args<'a>>,
    room: &mut [u8],
    mut tally: Tally<'_>,
    is_overtaken: impl Fn() -> bool,
) -> Option<Filled> {
    // Asked here, where it is a constant to the compiler.
    let size = T::args_size().map_or(1, |size| size.max(1));
    debug_assert_eq!(size, tally.size);
    for place in room.chunks_exact_mut(size) {
        if is_overtaken() {
            return Some(Filled::Overtaken);
        }
        let Some(args) = items.next() else { return Some(Filled::Ended) };
        if let Err(error) = Encoder::in_place(place, |out| T::encode_args(&args, out)) {
            // It was taken from the iterator, and has an index of its own for its error, but no place in the block.
            *tally.pulled += 1;
            return Some(Filled::Unencodable(error));
        }
        tally.done += 1;
    }
    None
}
