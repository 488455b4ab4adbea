//! The room for requests that are read and not answered: the reader waits for it, and the writer gives it back.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Requests that may be pending.
const ITEMS_MAX: usize = 1024;

/// Bytes that the arguments of pending requests may have together, and their answers by the mean of those before.
const BYTES_MAX: usize = 64 << 20;

/// An answer counts for one part in so many of the mean.
const MEAN_OF: usize = 8;

/// The room for pending requests.
pub(super) struct Window {
    /// Fewer would leave workers idle.
    items_min: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    items: usize,
    bytes: usize,
    /// Bytes of an answer, a moving average.
    answer_bytes: usize,
    is_closed: bool,
}

impl Window {
    pub(super) fn new(workers: usize) -> Window {
        Window { items_min: 2 * workers, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for a request of so many bytes. False if nothing is answered any more.
    pub(super) fn enter(&self, bytes: usize) -> bool {
        let is_full = |state: &mut State| !state.is_closed && state.is_full(self.items_min, bytes);
        let state = self.changed.wait_while(self.state(), is_full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        // Counted even if the window is closed: nobody looks at it then.
        state.items += 1;
        state.bytes += bytes;
        !state.is_closed
    }

    /// Gives back the room of a request, after an answer of so many bytes.
    pub(super) fn leave(&self, bytes: usize, answer_bytes: usize) {
        let mut state = self.state();
        state.items -= 1;
        state.bytes -= bytes;
        state.answer_bytes = (state.answer_bytes * (MEAN_OF - 1) + answer_bytes) / MEAN_OF;
        // One: only the reader waits here.
        self.changed.notify_one();
    }

    /// Nothing is answered any more.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }
}

impl State {
    fn is_full(&self, items_min: usize, bytes: usize) -> bool {
        // One is always let in, however long it is.
        self.items > 0
            && (self.bytes + bytes > BYTES_MAX
                || self.items >= (BYTES_MAX / self.answer_bytes.max(1)).clamp(items_min, ITEMS_MAX.max(items_min)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_for_so_many_items_and_bytes() {
        let window = Window::new(2);
        let is_full = |bytes| window.state().is_full(window.items_min, bytes);
        assert!(!is_full(BYTES_MAX + 1));
        (0..ITEMS_MAX).for_each(|_| assert!(window.enter(1)));
        assert!(is_full(0));
        window.leave(1, 0);
        assert!(!is_full(0) && is_full(BYTES_MAX));
    }

    #[test]
    fn long_answers_leave_room_for_few_but_for_all_workers() {
        let window = Window::new(2);
        for _ in 0..100 {
            assert!(window.enter(0));
            window.leave(0, BYTES_MAX / 10);
        }
        for item in 0..10 {
            assert!(!window.state().is_full(window.items_min, 0), "{item}");
            assert!(window.enter(0));
        }
        assert!(window.state().is_full(window.items_min, 0));
        window.state().answer_bytes = usize::MAX / MEAN_OF;
        window.state().items = 3;
        assert!(!window.state().is_full(window.items_min, 0));
        window.close();
        assert!(!window.enter(0) && window.is_closed());
    }
}
