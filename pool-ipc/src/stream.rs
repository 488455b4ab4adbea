//! Copies for a reader on another CPU, through the caches of this one or past them.
//!
//! A CPU that writes a cache line takes it over from the CPU that has used it last. That takes 4 ns if the two are near one
//! another, and 25 ns if they are far apart, for instance in two sockets. Writing past the caches takes 3 ns in both cases,
//! but then the reader finds the line in memory and not in a cache, so a reader that only copies it takes a quarter longer.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use super::copy::copy;

/// An estimate of how far the reader's CPU is, by the time that it takes to take over lines that the reader has read.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Distance {
    /// Slow copies in a row.
    slow: u32,
    /// All copies, modulo 2^32.
    copies: u32,
}

/// Shorter copies are not measured: they tell little and take little time.
const MEASURED_BYTES_MIN: usize = 16 << 10;
const LINE_BYTES: usize = 64;
/// From this time per line on the reader counts as far.
const FAR_LINE_TIME: Duration = Duration::from_nanos(12);
/// Slow copies in a row from which on the reader counts as far; fewer may be chance.
const FAR_COPIES_MIN: u32 = 4;
/// One in so many copies to a far reader measures whether it still is far.
const FAR_PROBE_INTERVAL: u32 = 64;
/// One in so many segments for a near reader is measured, which takes time of its own.
const NEAR_PROBE_INTERVAL: u32 = 16;

impl Distance {
    /// Copies in the way that takes less time. Fresh memory is not measured, since the kernel's time for it tells nothing.
    #[inline]
    pub(crate) fn copy(&mut self, to: &mut [u8], from: &[u8], is_fresh: bool) {
        if is_fresh || from.len() < MEASURED_BYTES_MIN { copy(to, from) } else { self.copy_long(to, from) }
    }

    pub(crate) fn is_far(self) -> bool {
        self.slow >= FAR_COPIES_MIN
    }

    /// The estimate for a reader that is far.
    #[cfg(test)]
    pub(crate) fn far() -> Distance {
        Distance { slow: FAR_COPIES_MIN, copies: 0 }
    }

    fn copy_long(&mut self, to: &mut [u8], from: &[u8]) {
        if !self.is_far() || self.is_due(FAR_PROBE_INTERVAL) {
            self.time(to.len(), || copy(to, from));
        } else {
            stream(to, from);
            settle();
        }
    }

    /// Measures from time to time how far the reader of `memory` is. Overwrites some of it.
    pub(crate) fn probe(&mut self, memory: &mut [u8]) {
        if self.is_due(if self.is_far() { FAR_PROBE_INTERVAL } else { NEAR_PROBE_INTERVAL }) {
            let lines = &mut memory[..MEASURED_BYTES_MIN];
            self.time(MEASURED_BYTES_MIN, || own_lines(lines));
        }
    }

    /// True for one call in `every`.
    fn is_due(&mut self, every: u32) -> bool {
        self.copies = self.copies.wrapping_add(1);
        self.copies.is_multiple_of(every)
    }

    fn time(&mut self, bytes: usize, write: impl FnOnce()) {
        let start = Instant::now();
        write();
        let is_slow = start.elapsed() > FAR_LINE_TIME * (bytes / LINE_BYTES) as u32;
        self.slow = if is_slow { self.slow.saturating_add(1) } else { 0 };
    }
}

/// Takes the cache lines of `memory` over from another CPU, many at a time, by writing into each. The old bytes are lost.
///
/// A loop that writes few bytes to each line, and other memory between, would take the lines over one by one, since each
/// store waits for the one before: 100 ns a line between distant CPUs, and 18 ns like this. `PREFETCHW` changes nothing.
#[inline]
pub fn own_lines(memory: &mut [u8]) {
    for line in memory.chunks_mut(LINE_BYTES) {
        line[0] = 0;
    }
    std::hint::black_box(memory);
}

/// Copies past the caches. This thread must [`settle`] before another one reads the bytes. See MOVNTDQ in AMD's or Intel's
/// manual.
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
        // - other threads read them only after the caller has settled.
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), unit) };
    }
    to_tail.copy_from_slice(tail);
}

/// Orders the bytes that this thread has streamed before all its later stores.
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
