//! The last words of a worker.

use super::sync::{AtomicU8, AtomicU32, Ordering, fence};

/// Bytes that a note can hold; the rest is cut off.
pub const LAST_WORDS_BYTES_MAX: usize = 2048;

/// A place for one text, written by a worker that is about to die and read by the host when it is dead.
///
/// Bytes are atomic because a signal handler may interrupt a panic hook that is writing too: the note is garbled then,
/// and nothing worse.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LastWords {
    len: AtomicU32,
    bytes: [AtomicU8; LAST_WORDS_BYTES_MAX],
}

impl LastWords {
    /// Async-signal-safe: stores, and nothing else.
    #[expect(clippy::cast_possible_truncation, reason = "at most LAST_WORDS_BYTES_MAX")]
    pub(crate) fn write(&self, text: &[u8]) {
        let text = &text[..text.len().min(LAST_WORDS_BYTES_MAX)];
        self.clear(); // a death in the middle leaves no note rather than half of one
        fence(Ordering::Release);
        for (to, &byte) in self.bytes.iter().zip(text) {
            to.store(byte, Ordering::Relaxed);
        }
        self.len.store(text.len() as u32, Ordering::Release); // SYNC NOTE, with `read`
    }

    /// Takes away what was written.
    #[inline]
    pub(crate) fn clear(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    /// Whatever is there: at most [`LAST_WORDS_BYTES_MAX`] bytes, of which nothing is promised.
    pub(crate) fn read(&self) -> Vec<u8> {
        let len = self.len.load(Ordering::Relaxed) as usize;
        fence(Ordering::Acquire); // SYNC NOTE; a fence, since on read-only memory only Relaxed loads are allowed
        let bytes = &self.bytes[..len.min(LAST_WORDS_BYTES_MAX)];
        bytes.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }
}
