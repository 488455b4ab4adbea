//! Atomics: the only file that names `core::sync::atomic`.
//!
//! The loom models in `tests/loom` compile ring, doorbell, progress and last words against a twin of this module in which
//! every name below is loom's, so loom checks the code that runs. The two orderings that hand data over are functions here
//! and not literals where they are used, so that the models can weaken them and see that loom notices.

pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// The ordering of a store that hands bytes to the peer: a ring's `tail` and `head`, progress, and last words.
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
