//! Unit tests that need private parts: rings on the heap, which miri can run too, and lanes between two ends in one
//! process.

mod arena;
mod copy;
mod extents;
mod hostile;
mod lane;
mod model;
mod ring;
mod stream;

use super::consumer::Consumer;
use super::memory::Memory;
use super::producer::Producer;
use super::shared::Shared;
use super::sync::AtomicU64;
use std::ptr::NonNull;
use std::sync::Arc;

/// A ring without a mapping.
pub(crate) fn on_heap(capacity: usize) -> (Producer, Consumer) {
    growing_on_heap(capacity, capacity)
}

/// Likewise, with no more of its memory in use than `extent`.
pub(crate) fn growing_on_heap(capacity: usize, extent: usize) -> (Producer, Consumer) {
    let memory = Memory::on_heap(capacity);
    let (tail, head) = (word(), word());
    let producer = Producer::new(memory.clone(), tail.clone(), head.clone());
    (producer.growing(extent, None), Consumer::new(memory, tail, head).growing(extent))
}

#[allow(unsafe_code, reason = "the heap in place of a mapping")]
fn word() -> Shared<AtomicU64> {
    let word = Arc::new(AtomicU64::new(0));
    let at = NonNull::from(&*word);
    // SAFETY: the Arc keeps the word where it is.
    unsafe { Shared::new(word, at) }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (seed.wrapping_mul(31) ^ i.wrapping_mul(7) ^ (i >> 8)) as u8).collect()
}

/// Numbers without pattern, the same at every run: xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
