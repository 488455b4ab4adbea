//! The threads that read the pool's records, as the end of the pool sees them.
//!
//! Nothing of the pool waits for them but its end, and that not for long: a listener may block for ever.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Time that the end of the pool waits for a reader that does not move.
const STUCK: Duration = Duration::from_secs(1);

thread_local! {
    /// True in the threads of any pool's readers.
    static IS_READER: Cell<bool> = const { Cell::new(false) };
}

/// The readers that run.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    state: Mutex<State>,
    /// Signalled when one has ended.
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    threads: Vec<Thread>,
    running: usize,
    /// Grows with everything that they get done.
    progress: u64,
}

impl Readers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader's thread is about to be started.
    pub(crate) fn announce(&self) {
        self.state().running += 1;
    }

    /// This thread is a reader from now on, until the guard is dropped.
    pub(crate) fn enter(&self) -> impl Drop + '_ {
        struct Left<'r>(&'r Readers);
        impl Drop for Left<'_> {
            fn drop(&mut self) {
                self.0.withdraw();
            }
        }
        IS_READER.set(true);
        self.state().threads.push(thread::current());
        Left(self)
    }

    /// A reader has ended, or could not be started.
    pub(crate) fn withdraw(&self) {
        // Also when the thread unwinds, or the end of the pool would wait for it.
        self.state().running -= 1;
        self.left.notify_all();
    }

    pub(crate) fn note_progress(&self) {
        self.state().progress += 1;
    }

    /// Makes all of them look.
    pub(crate) fn wake(&self) {
        // A thread that has ended is unparked in vain.
        self.state().threads.iter().for_each(Thread::unpark);
    }

    /// Waits until they have passed on everything; false if the deadline comes first. One that is stuck in the user's code is
    /// left behind, and none is waited for in a reader's own thread.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        // A listener that drops the pool would wait for itself.
        while state.running > 0 && !IS_READER.get() {
            let progress = state.progress;
            let left = deadline.map_or(STUCK, |deadline| deadline.saturating_duration_since(Instant::now()).min(STUCK));
            let timed_out;
            (state, timed_out) = {
                let (state, waited) = self.left.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                (state, waited.timed_out())
            };
            if timed_out && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return state.running == 0;
            }
            // It is stuck in the user's code: the rest is lost, and the thread ends when it is let go.
            if timed_out && state.progress == progress {
                return true;
            }
        }
        true
    }
}
