//! Atomics and fences of the waiting protocols. The loom models in `tests/loom` compile the protocols against loom's own.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
pub(crate) use std::thread::{self, Thread};

pub(crate) use pool_ipc::{Hub, Watch};

/// Orders an earlier store before a later load of another word, on both sides of a store-buffering race.
#[inline(always)]
pub(crate) fn store_load_fence() {
    fence(Ordering::SeqCst);
}

/// The ordering in which a short value is handed over, together with the question whether somebody waits for it.
#[inline(always)]
pub(crate) const fn hand_over_order() -> Ordering {
    Ordering::AcqRel
}
