//! The text in which a dying worker says why it dies.

use super::sync::{AtomicU8, AtomicU32, Ordering, fence, publish_order};

/// The most bytes that last words can hold; the rest is cut off.
pub const LAST_WORDS_BYTES_MAX: usize = 2048;

/// Room for one text, written by a worker that is about to die and read by the host after the death.
///
/// Bytes are atomic because a signal handler may interrupt a panic hook that is writing, too: then the text is mixed up,
/// and nothing worse happens.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LastWords<const BYTES_MAX: usize = LAST_WORDS_BYTES_MAX> {
    len: AtomicU32,
    bytes: [AtomicU8; BYTES_MAX],
}

impl<const BYTES_MAX: usize> LastWords<BYTES_MAX> {
    /// Words without a text. The memory of a lane begins as zeroes, so only tests make them.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the loom models, which compile this file, too")]
    pub(crate) fn empty() -> Self {
        LastWords { len: AtomicU32::new(0), bytes: std::array::from_fn(|_| AtomicU8::new(0)) }
    }

    /// Writes the text in place of an earlier one. Async-signal-safe: it only stores.
    #[expect(clippy::cast_possible_truncation, reason = "at most `BYTES_MAX`")]
    pub(crate) fn write(&self, text: &[u8]) {
        let text = &text[..text.len().min(BYTES_MAX)];
        self.clear(); // a death in the middle leaves no text instead of half of one
        fence(Ordering::Release);
        for (to, &byte) in self.bytes.iter().zip(text) {
            to.store(byte, Ordering::Relaxed);
        }
        // SYNC LAST WORDS, with `read`: a reader that sees the length sees the bytes. Loom model:
        // last_words_arrive_whole.
        self.len.store(text.len() as u32, publish_order());
    }

    /// Removes the text.
    #[inline]
    pub(crate) fn clear(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    /// The text, unchecked: at most `BYTES_MAX` bytes of any value.
    pub(crate) fn read(&self) -> Vec<u8> {
        let len = self.len.load(Ordering::Relaxed) as usize;
        fence(Ordering::Acquire); // SYNC LAST WORDS, with `write`; a fence, since read-only memory allows only Relaxed loads
        let bytes = &self.bytes[..len.min(BYTES_MAX)];
        bytes.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }
}
