//! The time of the next look at the clock, and the time until which the supervisor sleeps. Argued in `waiting.md`.

use crate::sync::{AtomicU64, Ordering, store_load_fence};

/// Two times in nanoseconds of the monotonic clock. Threads that hold the engine's lock write `due`, the supervisor writes
/// `sleeps_until`.
#[derive(Debug)]
pub(crate) struct Alarm {
    due: AtomicU64,
    sleeps_until: AtomicU64,
}

/// A time that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

impl Alarm {
    pub(crate) fn new() -> Self {
        Alarm { due: AtomicU64::new(NEVER), sleeps_until: AtomicU64::new(0) }
    }

    /// Sets the time at which the clock must be looked at. True if the supervisor would sleep past it, and must be woken.
    #[inline]
    pub(crate) fn set(&self, due: u64) -> bool {
        // Mostly nothing has changed, and a fence at each release of the lock would cost more than the call.
        if self.due.load(Ordering::Relaxed) == due {
            return false;
        }
        // Either this sees until when the supervisor sleeps, or the supervisor sees this before it does.
        self.due.store(due, Ordering::Relaxed);
        store_load_fence(); // SYNC DUE, with `sleep`: our time before our look for a sleeper
        due < self.sleeps_until.load(Ordering::Relaxed)
    }

    /// Announces that the supervisor is about to sleep, until `latest` at most. Returns the time until which it may.
    pub(crate) fn sleep(&self, latest: u64) -> u64 {
        loop {
            let until = self.due.load(Ordering::Relaxed).min(latest);
            self.sleeps_until.store(until, Ordering::Relaxed);
            store_load_fence(); // SYNC DUE, with `set`: our announcement before our look for an earlier time
            // An earlier time came in between, and its setter may have seen the old announcement.
            if self.due.load(Ordering::Relaxed) >= until {
                return until;
            }
        }
    }
}
