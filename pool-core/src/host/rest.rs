//! The router's sleep, and the thread that has to end it. Argued in `waiting.md`.

use crate::sync::{AtomicU8, Ordering};

/// The router begins a rest under the engine's lock; a thread that has held the lock later ends it.
#[derive(Debug)]
pub(crate) struct Rest(AtomicU8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Resting {
    /// The router looks up after a while.
    Naps,
    /// The router sleeps until it is notified: no quiet call was out. A thread that sends one ends this.
    Sleeps,
    /// The router sleeps until it is notified: callers wait and look for replies. The last one that leaves ends this.
    ReliesOnCallers,
}

impl Rest {
    pub(crate) fn new() -> Self {
        Rest(AtomicU8::new(Resting::Naps as u8))
    }

    /// To be called under the engine's lock, after the look for quiet calls and for callers that wait.
    #[inline]
    pub(crate) fn begin(&self, resting: Resting) {
        // Relaxed: the engine's lock orders it against the thread that ends it.
        self.0.store(resting as u8, Ordering::Relaxed);
    }

    /// Ends the rest if it is of this kind. If true, the router must be notified. To be called after the engine's lock
    /// was held.
    #[inline]
    pub(crate) fn end(&self, resting: Resting) -> bool {
        // Looked at before it is written: nearly always the router rests in another way, or not at all.
        let is_it = self.0.load(Ordering::Relaxed) == resting as u8;
        if is_it {
            self.end_any();
        }
        is_it
    }

    #[inline]
    pub(crate) fn end_any(&self) {
        self.0.store(Resting::Naps as u8, Ordering::Relaxed);
    }

    /// Whether another thread has ended this rest.
    #[inline]
    pub(crate) fn has_ended(&self, resting: Resting) -> bool {
        self.0.load(Ordering::Relaxed) != resting as u8
    }
}
