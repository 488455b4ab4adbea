//! When the clock is to be looked at next, and until when the supervisor sleeps. Argued in `waiting.md`.

use super::sync::{AtomicU64, Ordering, look_order};

/// Nanoseconds of the monotonic clock. `due` is written by those who hold the engine's lock, `sleeps_until` by the
/// supervisor.
#[derive(Debug)]
pub(crate) struct Alarm {
    due: AtomicU64,
    sleeps_until: AtomicU64,
}

/// No time at all.
pub(crate) const NEVER: u64 = u64::MAX;

impl Alarm {
    pub(crate) fn new() -> Self {
        Alarm { due: AtomicU64::new(NEVER), sleeps_until: AtomicU64::new(0) }
    }

    /// Notes when it is due. True if the supervisor would sleep too long, and is to be woken.
    #[inline]
    pub(crate) fn set(&self, due: u64) -> bool {
        if self.due.load(Ordering::Relaxed) == due {
            return false;
        }
        // Either this sees until when the supervisor sleeps, or the supervisor sees this before it does.
        self.due.store(due, look_order());
        due < self.sleeps_until.load(look_order())
    }

    /// The supervisor is about to sleep, until `latest` at most: until when it may.
    pub(crate) fn sleep(&self, latest: u64) -> u64 {
        loop {
            let until = self.due.load(look_order()).min(latest);
            self.sleeps_until.store(until, look_order());
            if self.due.load(look_order()) >= until {
                return until;
            }
        }
    }
}
