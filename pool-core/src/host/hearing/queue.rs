//! The values that wait for the listener: bounded by waiting as long as it moves, else by dropping.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::splitter::Splitter;

pub(super) struct Queue<S: Splitter> {
    state: Mutex<State<S::Item>>,
    /// Signalled when there is something to take, or never will be.
    filled: Condvar,
    /// Signalled when something was taken.
    emptied: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Values that had no room, behind those that wait.
    dropped: u64,
    /// When the listener last took a value.
    moved_at: Instant,
    is_closed: bool,
}

/// Bytes of values that wait, at most.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// A listener that does not return for so long counts as stuck.
const STUCK: Duration = Duration::from_secs(1);

impl<S: Splitter> Queue<S> {
    pub(super) fn new() -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, dropped: 0, moved_at: Instant::now(), is_closed: false };
        Queue { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<S::Item>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room as long as the listener moves, and drops the value if it is stuck.
    pub(super) fn push(&self, item: S::Item) {
        let bytes = S::bytes_of(&item);
        let mut state = self.state();
        // One value is always taken, however large it is.
        while !state.items.is_empty() && state.bytes + bytes > WAITING_BYTES_MAX {
            let left = STUCK.saturating_sub(state.moved_at.elapsed());
            if left.is_zero() {
                // Bounded, too, since a worker makes these as it likes.
                if S::is_vital(&item) && state.bytes + bytes <= 2 * WAITING_BYTES_MAX {
                    break;
                }
                state.dropped += 1;
                return;
            }
            state = self.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.mark_dropped::<S>();
        state.bytes += bytes;
        state.items.push_back(item);
        // Behind the lock, into which the listener would run at once.
        drop(state);
        self.filled.notify_one();
    }

    /// Nothing more will be pushed.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_one();
    }

    /// The next value, as soon as there is one; `None` after the last one.
    pub(super) fn take(&self) -> Option<S::Item> {
        let mut state = self.state();
        loop {
            if state.items.is_empty() {
                // Here, too: it may be the last word, with no further value to stand before.
                state.mark_dropped::<S>();
            }
            if let Some(item) = state.items.pop_front() {
                // Before the value leaves the lock, so that the room is there when the one that waits looks.
                state.bytes = state.bytes.saturating_sub(S::bytes_of(&item));
                // The listener's call begins now, and its second with it.
                state.moved_at = Instant::now();
                drop(state);
                self.emptied.notify_one();
                return Some(item);
            }
            if state.is_closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> State<T> {
    /// Says at this place how many values were dropped.
    fn mark_dropped<S: Splitter<Item = T>>(&mut self) {
        let count = std::mem::take(&mut self.dropped);
        if count > 0 {
            // Without asking for room: there is one of these for many that were dropped.
            let item = S::dropped(count);
            self.bytes += S::bytes_of(&item);
            self.items.push_back(item);
        }
    }
}

impl<S: Splitter> fmt::Debug for Queue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
