//! How far a job is, and the value of a call if it is short: the part of a completion that is read and written without
//! its lock. Argued in `waiting.md`.

use crate::sync::{AtomicBool, AtomicU8, AtomicU64, Ordering, hand_over_order};

#[derive(Debug)]
pub(crate) struct Status {
    /// The events so far ([`FINISHED`] ...), and the length of a short value.
    flags: AtomicU8,
    /// Something has come since the completion was last emptied.
    fresh: AtomicBool,
    short: [AtomicU64; 2],
}

/// The bits in which the length of a short value stands.
pub(crate) const LENGTH: u8 = 0x0f;
/// The call has a short value.
const SHORT: u8 = 0x10;
/// Nothing more will come.
const FINISHED: u8 = 0x20;
/// Waiters are in the inbox, or were.
const AWAITED: u8 = 0x40;
/// The handle is gone: no thread will look any more.
const ABANDONED: u8 = 0x80;

impl Default for Status {
    #[inline]
    fn default() -> Self {
        Status { flags: AtomicU8::new(0), fresh: AtomicBool::new(false), short: [AtomicU64::new(0), AtomicU64::new(0)] }
    }
}

impl Status {
    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.has(FINISHED)
    }

    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.has(ABANDONED)
    }

    /// Whether there is something new, or never will be.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        // Apart from the flags: it is set and cleared again and again, and they only ever gain bits.
        self.fresh.load(Ordering::Acquire) || self.is_finished()
    }

    #[inline]
    pub(crate) fn set_news(&self, news: bool) {
        self.fresh.store(news, Ordering::Release);
    }

    /// Ends a call with the first `length` bytes of these words. True if waiters may be in the inbox.
    #[inline]
    pub(crate) fn finish_short(&self, words: [u64; 2], length: u8) -> bool {
        // Relaxed: the swap below publishes them.
        self.short.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        // Either this finds `AWAITED`, or the thread that begins to wait finds `FINISHED`.
        self.flags.swap(FINISHED | SHORT | length, hand_over_order()) & AWAITED != 0
    }

    /// Ends a job in any other way, under the completion's lock.
    #[inline]
    pub(crate) fn finish(&self) {
        // No pairing with `AWAITED` is needed: waiters are added and taken under the completion's lock.
        self.flags.fetch_or(FINISHED, Ordering::Release);
    }

    /// Notes under the completion's lock that a waiter is about to be there; false if the job has ended.
    #[inline]
    pub(crate) fn begin_wait(&self) -> bool {
        self.flags.fetch_or(AWAITED, hand_over_order()) & FINISHED == 0
    }

    #[inline]
    pub(crate) fn abandon(&self) {
        // Read and written under the completion's lock, which orders it.
        self.flags.fetch_or(ABANDONED, Ordering::Relaxed);
    }

    /// The words of a short value, and its length.
    #[inline]
    pub(crate) fn short(&self) -> Option<([u64; 2], u8)> {
        // Once, so that flag and length belong together.
        let flags = self.flags.load(Ordering::Acquire);
        if flags & SHORT == 0 {
            return None;
        }
        Some(([self.short[0].load(Ordering::Relaxed), self.short[1].load(Ordering::Relaxed)], flags & LENGTH))
    }
}
