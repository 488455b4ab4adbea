//! Values for a listener that wait until everything before them has been read.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use nix::sys::eventfd::EventFd;

/// The values, and the bell of the thread that takes them.
pub(crate) struct Later<T> {
    items: Mutex<Vec<T>>,
    pub(crate) bell: EventFd,
}

impl<T> Later<T> {
    pub(crate) fn new(bell: EventFd) -> Self {
        Later { items: Mutex::default(), bell }
    }

    /// Hands the listener this value when it has been handed all that is written by now.
    #[cfg(feature = "tracing")]
    pub(crate) fn push(&self, item: T) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.push(item);
        // Told by the length, so that a burst of jobs costs one system call.
        let is_first = items.len() == 1;
        drop(items);
        if is_first {
            let _ = self.bell.write(1);
        }
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}
