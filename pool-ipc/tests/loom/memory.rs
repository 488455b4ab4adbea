//! The twin of `src/memory.rs`: headers made of loom's atomics, and payload bytes under loom's watch.

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use loom::cell::UnsafeCell;

use super::record::{HEADER_BYTES, Wire};

/// The stand-in for 32 bytes of a ring, be they a header or a piece of payload.
#[derive(Debug, Default)]
struct Block {
    wire: Wire,
    /// Told of every access to the payload bytes, so that loom can judge whether it is allowed.
    watch: UnsafeCell<()>,
}

#[derive(Debug, Clone)]
pub(crate) struct Memory {
    blocks: Arc<[Block]>,
    /// All payload bytes in a row, since users get slices of them.
    base: NonNull<u8>,
    bytes: Arc<[std::cell::UnsafeCell<u8>]>,
}

// SAFETY: loom's threads are coroutines of one thread; the models check which of them may touch which bytes.
unsafe impl Send for Memory {}

impl Memory {
    pub(crate) fn new(capacity: usize) -> Memory {
        let blocks = (0..capacity / HEADER_BYTES).map(|_| Block::default()).collect();
        let bytes: Arc<[_]> = (0..capacity).map(|_| std::cell::UnsafeCell::new(0)).collect();
        Memory { blocks, base: NonNull::from(&*bytes).cast(), bytes }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn offset(&self, position: u64) -> usize {
        position as usize & (self.capacity() - 1) & !(HEADER_BYTES - 1)
    }

    pub(crate) fn to_end(&self, position: u64) -> usize {
        self.capacity() - self.offset(position)
    }

    pub(crate) fn wire(&self, position: u64) -> &Wire {
        &self.blocks[self.offset(position) / HEADER_BYTES].wire
    }

    /// Where the payload's first `len` bytes are, and the watches over them.
    fn payload(&self, position: u64, len: usize) -> (NonNull<[u8]>, &[Block]) {
        let first = self.offset(position) + HEADER_BYTES;
        assert!(first + len <= self.capacity());
        let watches = &self.blocks[first / HEADER_BYTES..(first + len).div_ceil(HEADER_BYTES)];
        // SAFETY: just checked.
        let start = unsafe { self.base.add(first) };
        (NonNull::slice_from_raw_parts(start, len), watches)
    }

    pub(crate) fn copy_payload(&self, position: u64, at: usize, out: &mut [MaybeUninit<u8>]) {
        // SAFETY: loom tells if somebody may be writing.
        let bytes = unsafe { self.payload_ref(position, at + out.len()) };
        out.iter_mut().zip(&bytes[at..]).for_each(|(to, &byte)| _ = to.write(byte));
    }

    pub(crate) fn payload_start(&self, position: u64) -> [u64; 2] {
        // SAFETY: as above.
        let bytes = unsafe { self.payload_ref(position, 16) };
        let words = bytes.as_chunks().0;
        [u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])]
    }

    pub(crate) fn append_payload(&self, position: u64, len: usize, out: &mut Vec<u8>) {
        // SAFETY: as above.
        out.extend_from_slice(unsafe { self.payload_ref(position, len) });
    }

    /// # Safety
    /// As for the original; loom takes the call for the moment of writing.
    #[expect(clippy::mut_from_ref, reason = "as in the original")]
    pub(crate) unsafe fn payload_mut(&self, position: u64, len: usize) -> &mut [u8] {
        let (mut bytes, watches) = self.payload(position, len);
        watches.iter().for_each(|block| block.watch.with_mut(|_| ()));
        // SAFETY: the caller's promise, which loom has just checked.
        unsafe { bytes.as_mut() }
    }

    /// # Safety
    /// As for the original; loom takes the call for the moment of reading.
    pub(crate) unsafe fn payload_ref(&self, position: u64, len: usize) -> &[u8] {
        let (bytes, watches) = self.payload(position, len);
        watches.iter().for_each(|block| block.watch.with(|_| ()));
        // SAFETY: the caller's promise, which loom has just checked.
        unsafe { bytes.as_ref() }
    }
}
