//! Atomics: the only file that names `core::sync::atomic`.
//!
//! The loom models in `tests/loom` compile ring, doorbell and progress words against a twin of this module in which
//! every name below is loom's, so that what loom checks is the code that runs. The two orderings on which everything
//! rests are functions here rather than literals at their place of use, so that the models can also weaken them
//! and see that loom notices.

pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use super::sys;

/// The ordering of a store that hands bytes to the peer: a ring's `tail` and `head`, and the count of a draft.
#[inline(always)]
pub(crate) const fn publish_order() -> Ordering {
    Ordering::Release
}

/// Orders an earlier store before a later load of another word, on both sides of a store-buffering race (doorbell.md).
/// Nothing weaker than SeqCst does that: Release and Acquire leave exactly this pair unordered.
#[inline(always)]
pub(crate) fn store_load_fence() {
    fence(Ordering::SeqCst);
}

/// A word that a process can sleep on for as long as it keeps its value.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Futex(AtomicU32);

impl Futex {
    /// The value to hand to [`Futex::wait`]: read it before the last check for news.
    ///
    /// Relaxed: the kernel compares the word again, and what was published before the bell rang is read with
    /// orderings of its own.
    #[inline]
    pub(crate) fn heard(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps unless the word has changed from `heard`. Comes back at a ring, a time-out, a signal or for no reason.
    #[inline]
    pub(crate) fn wait(&self, heard: u32, timeout: Option<Duration>) {
        sys::futex_wait(&self.0, heard, timeout);
    }

    /// Changes the word and wakes whoever sleeps on it. There may be several ringers, hence `fetch_add`.
    ///
    /// Relaxed: a sleeper that misses the change is in the kernel's queue by then and is woken by the call.
    #[inline]
    pub(crate) fn notify(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        sys::futex_wake(&self.0);
    }
}
