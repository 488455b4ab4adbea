//! How the router sleeps, and who has to end that. Argued in `waiting.md`.

use crate::sync::{AtomicU8, Ordering};

/// Begun by the router under the engine's lock; ended by whoever held that lock later.
#[derive(Debug)]
pub(crate) struct Rest(AtomicU8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Resting {
    /// It looks up after a while.
    Naps,
    /// Until it is rung: no quiet call was out. Who sends one ends it.
    Dozes,
    /// Until it is rung: there was a leader. Who leaves without a successor ends it.
    Leans,
}

impl Rest {
    pub(crate) fn new() -> Self {
        Rest(AtomicU8::new(Resting::Naps as u8))
    }

    /// To be called under the engine's lock, after the look for quiet calls and for a leader.
    #[inline]
    pub(crate) fn begin(&self, resting: Resting) {
        self.0.store(resting as u8, Ordering::Relaxed);
    }

    /// Ends the rest if it is of this kind: true, and the router is to be rung. To be called after the engine's lock was
    /// held.
    #[inline]
    pub(crate) fn end(&self, resting: Resting) -> bool {
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

    /// Whether somebody has ended this rest.
    #[inline]
    pub(crate) fn has_ended(&self, resting: Resting) -> bool {
        self.0.load(Ordering::Relaxed) != resting as u8
    }
}
