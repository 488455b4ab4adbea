//! The bytes of a ring.
//!
//! Only this file turns a position in a ring into an address. Positions count bytes since the ring was made and only grow;
//! `offset` reduces any position to a place within the memory, so no check can be forgotten later.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::record::{HEADER_BYTES, Wire};
use super::shared::Keeper;
use super::sync::{AtomicU8, AtomicU64, Ordering};

/// Bytes that one round of the copying loop moves.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// # Invariants
/// * `base` points to `capacity` bytes that stay in place while `keeper` lives, aligned for a [`Wire`].
/// * `capacity` is a power of two and at least one header.
/// * The bytes are written only through this type, or by another process.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    capacity: usize,
    #[expect(dead_code, reason = "held for its destructor")]
    keeper: Keeper,
}

// SAFETY:
// - the keeper is Send and Sync, and the bytes stay in place wherever it goes;
// - `&Memory` gives out atomics only; plain references to the bytes are made by unsafe methods.
unsafe impl Send for Memory {}

impl Memory {
    /// # Safety
    /// `base` and `capacity` must be as the type's invariants say.
    pub(crate) unsafe fn new(keeper: Keeper, base: NonNull<u8>, capacity: usize) -> Memory {
        assert!(capacity.is_power_of_two());
        assert!(capacity >= HEADER_BYTES);
        assert!(base.cast::<Wire>().is_aligned());
        Memory { base, capacity, keeper }
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Offset of a position in the memory: for any position, a multiple of a header's size with room for a header.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to the capacity")]
    pub(crate) fn offset(&self, position: u64) -> usize {
        // Masked twice, so that any position, also one that the peer made up, is a place where a header fits.
        position as usize & (self.capacity - 1) & !(HEADER_BYTES - 1)
    }

    /// Bytes from `position` to the ring's end: at least a header.
    #[inline]
    pub(crate) fn to_end(&self, position: u64) -> usize {
        self.capacity - self.offset(position)
    }

    /// The header at `position`.
    #[inline]
    pub(crate) fn wire(&self, position: u64) -> &Wire {
        // SAFETY: `offset` is within the capacity.
        let at = unsafe { self.base.add(self.offset(position)) };
        // SAFETY:
        // - a header fits between any `offset` and the capacity, both being multiples of its size;
        // - base and offset are aligned for it;
        // - it consists of atomics, for which every bit pattern is a value and every concurrent write is allowed.
        unsafe { at.cast::<Wire>().as_ref() }
    }

    /// Copies payload bytes of the record at `position`, from byte `at` on. Another process may be writing them.
    ///
    /// # Panics
    /// If the bytes asked for pass the ring's end.
    #[inline]
    pub(crate) fn copy_payload(&self, position: u64, at: usize, out: &mut [MaybeUninit<u8>]) {
        self.check(position, at, out.len());
        // SAFETY: checked to lie within the capacity.
        let start = unsafe { self.payload(position).add(at) };
        // Assembly, since a loop over atomic words is slow and the compiler may not widen it. `rep movsb` would take twice
        // as long for bytes that another CPU has in its caches.
        #[cfg(target_arch = "x86_64")]
        let (start, out) = {
            let (lines, rest) = out.split_at_mut(out.len() / LINE_BYTES * LINE_BYTES);
            if !lines.is_empty() {
                // SAFETY:
                // - `lines.len()` bytes, whole lines and at least one, from `start` are within the memory, and as many
                //   are writable at `lines`;
                // - another process may write there at the same time: the compiler assumes nothing about bytes that
                //   assembly copies, and each arrives as it was at some moment.
                unsafe {
                    std::arch::asm!(
                        "2:",
                        "movups xmm0, [rsi]",
                        "movups xmm1, [rsi + 16]",
                        "movups xmm2, [rsi + 32]",
                        "movups xmm3, [rsi + 48]",
                        "movups [rdi], xmm0",
                        "movups [rdi + 16], xmm1",
                        "movups [rdi + 32], xmm2",
                        "movups [rdi + 48], xmm3",
                        "add rsi, 64",
                        "add rdi, 64",
                        "sub rcx, 64",
                        "jnz 2b",
                        inout("rcx") lines.len() => _,
                        inout("rsi") start.as_ptr() => _,
                        inout("rdi") lines.as_mut_ptr() => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        options(nostack),
                    );
                }
            }
            // SAFETY: as above, at most the end of the memory.
            (unsafe { start.add(lines.len()) }, rest)
        };
        // SAFETY:
        // - `out.len()` bytes from here are within the memory, and AtomicU8 has the size and alignment of a byte;
        // - atomics may be written by other processes while we hold this.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast::<AtomicU8>().as_ptr(), out.len()) };
        // SAFETY: eight AtomicU8 in a row that are aligned for it may be used as one AtomicU64.
        let (first, words, last) = unsafe { bytes.align_to::<AtomicU64>() };

        // Atomic loads for the rest: a plain copy of bytes that another process may write would be a data race.
        let (to_first, rest) = out.split_at_mut(first.len());
        let (to_words, to_last) = rest.as_chunks_mut::<8>();
        for (to, byte) in to_first.iter_mut().zip(first) {
            to.write(byte.load(Ordering::Relaxed));
        }
        for (to, word) in to_words.iter_mut().zip(words) {
            *to = word.load(Ordering::Relaxed).to_ne_bytes().map(MaybeUninit::new);
        }
        for (to, byte) in to_last.iter_mut().zip(last) {
            to.write(byte.load(Ordering::Relaxed));
        }
    }

    /// The first two words of the payload of the record at `position`. Another process may be writing them.
    ///
    /// # Panics
    /// If they pass the ring's end.
    #[inline]
    pub(crate) fn payload_start(&self, position: u64) -> [u64; 2] {
        self.check(position, 0, size_of::<[AtomicU64; 2]>());
        // SAFETY:
        // - within the memory, as has just been checked, and aligned as headers are;
        // - atomics may be written by other processes while we hold this.
        let [first, second] = unsafe { self.payload(position).cast::<[AtomicU64; 2]>().as_ref() };
        [first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)]
    }

    /// Appends `len` payload bytes of the record at `position` to `out`.
    #[inline]
    pub(crate) fn append_payload(&self, position: u64, len: usize, out: &mut Vec<u8>) {
        self.check(position, 0, len); // first, since a wrong length must not allocate
        out.reserve(len);
        // Into memory that is not zeroed before: long payloads would be written twice.
        self.copy_payload(position, 0, &mut out.spare_capacity_mut()[..len]);
        let whole = out.len() + len;
        // SAFETY: `copy_payload` has written each of the `len` bytes after the old length.
        unsafe { out.set_len(whole) };
    }

    /// The payload space of the record at `position`, to be written.
    ///
    /// # Safety
    /// Until the slice is gone nobody else may read or write these bytes: they are the producer's own.
    ///
    /// # Panics
    /// If the slice would pass the ring's end.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "exclusive by the caller's promise")]
    pub(crate) unsafe fn payload_mut(&self, position: u64, len: usize) -> &mut [u8] {
        self.check(position, 0, len);
        // SAFETY:
        // - checked to lie within the memory, which was initialised (with zeros) when it was made;
        // - nobody else touches the bytes, by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.payload(position).as_ptr(), len) }
    }

    /// The payload of the record at `position`, to be read in place.
    ///
    /// # Safety
    /// Until the slice is gone nobody may write these bytes.
    ///
    /// # Panics
    /// If the slice would pass the ring's end.
    #[inline]
    pub(crate) unsafe fn payload_ref(&self, position: u64, len: usize) -> &[u8] {
        self.check(position, 0, len);
        // SAFETY:
        // - checked to lie within the memory, which was initialised (with zeros) when it was made;
        // - nobody writes the bytes, by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.payload(position).as_ptr(), len) }
    }

    /// The start of the payload of the record at `position`, which may be the end of the memory.
    #[inline]
    fn payload(&self, position: u64) -> NonNull<u8> {
        // SAFETY: a header fits after any `offset`, so this is at most one past the last byte.
        unsafe { self.base.add(self.offset(position) + HEADER_BYTES) }
    }

    #[inline]
    fn check(&self, position: u64, at: usize, len: usize) {
        let room = self.to_end(position) - HEADER_BYTES;
        assert!(at <= room && len <= room - at, "{len} bytes at {at} of a payload that has room for {room}");
    }

    /// Memory of a ring without a mapping.
    #[cfg(test)]
    pub(crate) fn on_heap(capacity: usize) -> Memory {
        let words: std::sync::Arc<[AtomicU64]> = (0..capacity / 8).map(|_| AtomicU64::new(0)).collect();
        let base = NonNull::from(&*words).cast::<u8>();
        // SAFETY: as many bytes as said, aligned to 8, kept by the Arc, interior mutable.
        unsafe { Memory::new(std::sync::Arc::new(words), base, capacity) }
    }
}
