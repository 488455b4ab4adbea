//! Copies for another CPU to read, by way of this one's caches or past them.
//!
//! Whoever writes a line owns it first, and takes it from the CPU that has read or written it last: 4 ns where the two are
//! near one another, 25 where they are far (in another socket, say). What is written past the caches takes 3 in both cases,
//! but its reader finds it in memory and not in a cache, which costs a reader who only copies it on a quarter.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use super::copy::copy;

/// Finds out how far from here the reader is, by the time that it takes to own what he has read.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Distance {
    /// Copies that took so long, one after the other.
    slow: u32,
    copies: u32,
}

/// What is shorter tells little, and takes little.
const LONG: usize = 16 << 10;
const LINE: usize = 64;
/// Time to own a line, from which on the reader is far.
const FAR: Duration = Duration::from_nanos(12);
/// Slow copies that are no chance.
const SLOW: u32 = 4;
/// Of the copies to a reader who was far, one in so many finds out whether he still is.
const LOOK_EVERY: u32 = 64;

impl Distance {
    /// Copies the way that takes less time. The time that fresh memory takes is the kernel's, and tells nothing.
    #[inline]
    pub(crate) fn copy(&mut self, to: &mut [u8], from: &[u8], is_fresh: bool) {
        if is_fresh || from.len() < LONG { copy(to, from) } else { self.copy_long(to, from) }
    }

    pub(crate) fn is_far(&self) -> bool {
        self.slow >= SLOW
    }

    /// Of a reader who was far.
    #[cfg(test)]
    pub(crate) fn far() -> Distance {
        Distance { slow: SLOW, copies: 0 }
    }

    fn copy_long(&mut self, to: &mut [u8], from: &[u8]) {
        self.copies = self.copies.wrapping_add(1);
        if self.is_far() && !self.copies.is_multiple_of(LOOK_EVERY) {
            stream(to, from);
            settle();
            return;
        }
        let start = Instant::now();
        copy(to, from);
        let is_slow = start.elapsed() > FAR * (from.len() / LINE) as u32;
        self.slow = if is_slow { self.slow.saturating_add(1) } else { 0 };
    }
}

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
