//! Threads that run callbacks, so that a slow one delays neither replies nor other callbacks.
//!
//! A thread is made when a callback comes and no other is free, and ends when it has had nothing to do for a while.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Callback = Box<dyn FnOnce() + Send>;

/// Callbacks that may block at the same time; more wait for one of these to return.
const THREADS_MAX: usize = 64;

/// How long a thread waits for a callback before it ends.
const LINGER: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Callbacks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Callback>,
    threads: usize,
    free: usize,
    /// No thread lingers any more.
    closing: bool,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

impl Callbacks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the callback soon, in some thread. If none can be made, in this one.
    pub(crate) fn run(self: &Arc<Self>, callback: Callback) {
        let mut state = self.state();
        state.queue.push_back(callback);
        if state.free >= state.queue.len() || state.threads >= THREADS_MAX {
            self.changed.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let this = Arc::clone(self);
        let spawned = thread::Builder::new().name("pool-callback".into()).spawn(move || this.serve());
        if spawned.is_err() {
            let mut state = self.state();
            state.threads -= 1;
            if state.threads == 0 {
                let queue = std::mem::take(&mut state.queue);
                drop(state);
                queue.into_iter().for_each(run_one);
            }
        }
    }

    fn serve(&self) {
        let mut state = self.state();
        loop {
            if let Some(callback) = state.queue.pop_front() {
                drop(state);
                run_one(callback);
                state = self.state();
                continue;
            }
            if state.closing {
                break;
            }
            state.free += 1;
            let (back, waited) = self.changed.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.free -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        self.changed.notify_all();
    }

    /// Lets the threads end that have nothing to do. Callbacks that run go on: one of them may be the caller.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        self.changed.notify_all();
        while state.free > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run_one(callback: Callback) {
    // The panic hook has told of it; nobody else wants to know.
    let _ = catch_unwind(AssertUnwindSafe(callback));
}
