//! Copies that go past the caches of the CPU that makes them.
//!
//! Whoever writes a line owns it first, and takes it from the CPU that has read or written it last: 4 ns where the two are
//! near one another, 25 where they are far. What is written past the caches takes 3 in both cases, but its reader
//! finds it in memory and not in a cache: so this is for bytes that are read one after the other, and by a reader who has
//! something to do with each. Long messages, which are only copied on, lose a quarter by it where CPUs are near.

#![allow(unsafe_code)]

/// Copies past the caches. Before anybody reads it, this thread must [`settle`]. See MOVNTDQ in AMD's or Intel's manual.
#[cfg(target_arch = "x86_64")]
pub(crate) fn stream(to: &mut [u8], from: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    const UNIT: usize = size_of::<__m128i>();
    let head = to.as_ptr().align_offset(UNIT).min(to.len());
    let ((to_head, to), (head, from)) = (to.split_at_mut(head), from.split_at(head));
    to_head.copy_from_slice(head);
    let ((to, to_tail), (from, tail)) = (to.as_chunks_mut::<UNIT>(), from.as_chunks::<UNIT>());
    for (to, from) in to.iter_mut().zip(from) {
        // SAFETY: as many readable bytes; the instruction asks for no alignment.
        let unit = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        // SAFETY:
        // - as many writable bytes, aligned by the split above;
        // - nobody reads them before the caller has settled.
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), unit) };
    }
    to_tail.copy_from_slice(tail);
}

/// What this thread has streamed is there before what it writes from now on.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn settle() {
    // SAFETY: every processor of this kind has the instruction.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn stream(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn settle() {}
