//! Copies that the C library makes slowly.
//!
//! It has those of more than some KiB made by the processor's own instruction, `rep movsb`. If the destination lies less
//! than 32 bytes behind the source, whole pages aside, that takes AMD's Zen 3 some fifteen times as long as vector moves: 2
//! GB/s instead of 30 to 40 (measured, with glibc 2.36). Memory from one allocator often lies like that. See Luna Nova,
//! "Ryzen slow short rep mov", 2023.

/// From here on `rep movsb` may be used; and pieces for which it is not.
const LONG: usize = 2 << 10;
const PIECE: usize = 1 << 10;

/// Addresses that are a multiple of this apart are one to what decides the matter in the processor, and those less than
/// `NEAR` behind are what is slow.
const PAGE: usize = 4 << 10;
const NEAR: usize = 32;

/// Copies all of `from`.
///
/// # Panics
/// If the lengths are not the same.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8]) {
    if from.len() < LONG {
        return to.copy_from_slice(from);
    }
    assert_eq!(to.len(), from.len());
    let bytes = piece(to.as_ptr(), from);
    for (to, from) in to.chunks_mut(bytes).zip(from.chunks(bytes)) {
        to.copy_from_slice(from);
    }
}

/// Appends all of `from`.
#[inline]
pub fn append(to: &mut Vec<u8>, from: &[u8]) {
    to.reserve(from.len());
    let bytes = piece(to.as_ptr().wrapping_add(to.len()), from);
    from.chunks(bytes).for_each(|piece| to.extend_from_slice(piece));
}

/// Bytes of the pieces in which this is best copied to there.
fn piece(to: *const u8, from: &[u8]) -> usize {
    let behind = to.addr().wrapping_sub(from.as_ptr().addr()) % PAGE;
    let is_slow = from.len() >= LONG && (1..NEAR).contains(&behind);
    if is_slow { PIECE } else { from.len().max(1) }
}
