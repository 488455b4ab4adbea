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
/// Of the copies to a reader who was near, one in so many does so where that takes time of its own.
const GLANCE_EVERY: u32 = 16;

impl Distance {
    /// Copies the way that takes less time. The time that fresh memory takes is the kernel's, and tells nothing.
    #[inline]
    pub(crate) fn copy(&mut self, to: &mut [u8], from: &[u8], is_fresh: bool) {
        if is_fresh || from.len() < LONG { copy(to, from) } else { self.copy_long(to, from) }
    }

    pub(crate) fn is_far(self) -> bool {
        self.slow >= SLOW
    }

    /// Of a reader who was far.
    #[cfg(test)]
    pub(crate) fn far() -> Distance {
        Distance { slow: SLOW, copies: 0 }
    }

    fn copy_long(&mut self, to: &mut [u8], from: &[u8]) {
        if !self.is_far() || self.is_due(LOOK_EVERY) {
            self.time(to.len(), || copy(to, from));
        } else {
            stream(to, from);
            settle();
        }
    }

    /// Finds out from time to time where the reader of this memory is, which may be written over.
    pub(crate) fn look(&mut self, memory: &mut [u8]) {
        if self.is_due(if self.is_far() { LOOK_EVERY } else { GLANCE_EVERY }) {
            let lines = &mut memory[..LONG];
            self.time(LONG, || own_lines(lines));
        }
    }

    /// Whether this is one copy in so many.
    fn is_due(&mut self, every: u32) -> bool {
        self.copies = self.copies.wrapping_add(1);
        self.copies.is_multiple_of(every)
    }

    fn time(&mut self, bytes: usize, write: impl FnOnce()) {
        let start = Instant::now();
        write();
        let is_slow = start.elapsed() > FAR * (bytes / LINE) as u32;
        self.slow = if is_slow { self.slow.saturating_add(1) } else { 0 };
    }
}

/// Has this CPU take over the lines of memory that another one has read, many at a time, by writing into each: all that
/// stands there is lost. Where little is written to a line, and other things between, a store waits for the one before: so
/// lines would be taken over one by one, which takes 100 ns each where the CPUs are far from one another, and 18 like this
/// (`PREFETCHW` changes nothing).
#[inline]
pub fn own_lines(memory: &mut [u8]) {
    for line in memory.chunks_mut(LINE) {
        line[0] = 0;
    }
    std::hint::black_box(memory);
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
