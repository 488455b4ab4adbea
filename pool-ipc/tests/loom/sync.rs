//! The twin of `src/sync.rs`, and the means to weaken it.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// An ordering that is left out, to see that loom misses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    None,
    /// Bytes are handed over without Release.
    RelaxedPublish,
    /// They are taken without Acquire.
    NoAcquireFence,
    /// A store may pass a later load of another word.
    NoStoreLoadFence,
}

thread_local! {
    // One for each thread that runs a model: loom's threads are coroutines on it, so they see it, and other tests do not.
    static WEAKNESS: Cell<Weakness> = const { Cell::new(Weakness::None) };
}

pub(crate) fn weaken(weakness: Weakness) {
    WEAKNESS.set(weakness);
}

pub(crate) fn publish_order() -> Ordering {
    match WEAKNESS.get() {
        Weakness::RelaxedPublish => Ordering::Relaxed,
        _ => Ordering::Release,
    }
}

pub(crate) fn store_load_fence() {
    match WEAKNESS.get() {
        // AcqRel keeps the bytes right, so that only the order of store and load is missed.
        Weakness::NoStoreLoadFence => loom::sync::atomic::fence(Ordering::AcqRel),
        _ => loom::sync::atomic::fence(Ordering::SeqCst),
    }
}

pub(crate) fn fence(order: Ordering) {
    if WEAKNESS.get() != Weakness::NoAcquireFence || order != Ordering::Acquire {
        loom::sync::atomic::fence(order);
    }
}
