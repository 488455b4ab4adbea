//! Threads that run the user's code: wakers of futures, and callbacks.
//!
//! Nothing else of the pool depends on these threads, so a waker or callback may panic, block for ever, use the pool or
//! drop it. A thread runs one at a time. As long as one runs and others queue, another thread looks from time to time
//! whether the queue has moved, and takes the next if not. So there are about as many threads as there are wakers and
//! callbacks that block, up to the system's limit. If the system refuses a thread, the queue waits until one is free, or
//! until the supervisor's next attempt.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::job::waiters::Callback;

/// Threads that run jobs at once. A further one first watches whether the queue moves without it.
const EAGER_THREADS: usize = 2;

/// Time that an idle thread waits for a job before it ends.
const LINGER: Duration = Duration::from_millis(500);

/// Time without an ended job after which the watching thread takes the next one. It is halved each time that this
/// happens, and doubled while jobs end: more threads do not make jobs faster that compute.
const LOOK_AFTER: Duration = Duration::from_millis(1);
const LOOK_AFTER_MIN: Duration = Duration::from_micros(250);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(8);

/// Time between two attempts to make a thread that the system has refused.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Time that the end of the pool waits for wakers that run. A waker may wait for the very thread that ends the pool.
const WAKERS_GRACE: Duration = Duration::from_millis(100);

thread_local! {
    /// True in the threads of any pool's notifier.
    static IS_NOTIFIER: Cell<bool> = const { Cell::new(false) };
}

/// A waker or a callback to run.
pub(crate) enum Job {
    Wake(Waker),
    Call(Callback),
}

pub(crate) struct Notifier {
    /// The name of its threads.
    name: String,
    /// The supervisor's bell, for the case that the system refuses a thread.
    bell: Arc<EventFd>,
    state: Mutex<State>,
    /// Signalled when an idle thread is wanted.
    wanted: Condvar,
    /// Never signalled: the watching thread sleeps on it for a limited time.
    nap: Condvar,
    /// Signalled when all callbacks have returned, and when a thread has ended.
    left: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// All threads, including those that have not begun.
    threads: usize,
    running: usize,
    idle: usize,
    /// Threads that were made or called and have not looked at the queue since.
    coming: usize,
    /// How many of `coming` were called.
    called: usize,
    /// A thread watches whether the queue moves.
    watched: bool,
    /// The time for which that thread watches.
    look_after: Duration,
    /// Jobs that have been run.
    finished: u64,
    /// Callbacks that wait for their job, are on their way here, queue or run.
    callbacks: usize,
    /// The system has refused a thread.
    starved: bool,
    /// Idle threads end at once.
    closing: bool,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl Notifier {
    pub(crate) fn new(name: &str, bell: Arc<EventFd>) -> Arc<Self> {
        let state = State { look_after: LOOK_AFTER, ..State::default() };
        Arc::new(Notifier {
            name: format!("{name}-notify"),
            bell,
            state: Mutex::new(state),
            wanted: Condvar::new(),
            nap: Condvar::new(),
            left: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a callback that will be [pushed](Notifier::push) when its job is done. From here on the end of the pool
    /// waits for it: the thread that takes in the outcome pushes it after it has left all locks, and the pool may be over
    /// before that.
    pub(crate) fn expect_callback(&self) {
        self.state().callbacks += 1;
    }

    /// Queues the jobs for the threads of this notifier. Each callback must have been [expected](Notifier::expect_callback).
    pub(crate) fn push(self: &Arc<Self>, jobs: Vec<Job>) {
        let mut state = self.state();
        state.queue.extend(jobs);
        // One thread is enough for any number of jobs: it calls the next before it runs the first.
        self.call_helper(state);
    }

    /// Makes sure that a thread will look at the queue if it is not empty.
    fn call_helper(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let helper = state.helper();
        // Threads are made outside of the lock: it takes tens of microseconds, and the new one takes the lock first.
        drop(state);
        match helper {
            Helper::None => {}
            Helper::Called => self.wanted.notify_one(),
            Helper::Made => {
                if !self.spawn() {
                    // It can fail only if the supervisor has been told 2^64 times and not looked.
                    let _ = self.bell.write(1);
                }
            }
        }
    }

    /// Makes the thread that was counted already; false if the system refuses.
    fn spawn(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        // The thread inherits the mask: signals are for the program's own threads, from its first moment.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let spawned = thread::Builder::new().name(self.name.clone()).spawn(move || this.serve());
        if let Ok(mask) = mask {
            let _ = mask.thread_set_mask();
        }
        // It was counted before, so that two callers do not make two threads for one job.
        if spawned.is_err() {
            let mut state = self.state();
            state.threads -= 1;
            state.coming -= 1;
            state.starved = true;
        }
        spawned.is_ok()
    }

    /// Asks again for a thread that was refused; true if it is still wanted.
    pub(crate) fn retry(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        // Taken back first: a refusal of this attempt sets it again.
        if !std::mem::take(&mut state.starved) {
            return false;
        }
        let helper = state.helper();
        drop(state);
        match helper {
            Helper::None => false,
            Helper::Called => {
                self.wanted.notify_one();
                false
            }
            Helper::Made => !self.spawn(),
        }
    }

    /// Runs in each of its threads: idles, watches, or runs jobs.
    fn serve(self: &Arc<Self>) {
        IS_NOTIFIER.set(true);
        let mut state = self.state();
        state.coming -= 1;
        // True after a watch in vain: then this thread runs a job though enough others do.
        let mut is_stuck = false;
        loop {
            if state.queue.is_empty() && state.closing {
                break;
            }
            let is_quiet = state.queue.is_empty() || state.watched && state.running >= EAGER_THREADS && !is_stuck;
            if is_quiet {
                let timed_out;
                (state, timed_out) = self.idle(state);
                if timed_out && state.queue.is_empty() {
                    break;
                }
            } else if is_stuck || state.running < EAGER_THREADS {
                is_stuck = false;
                state = self.run_next(state);
            } else {
                (state, is_stuck) = self.watch(state);
            }
        }
        state.threads -= 1;
        self.left.notify_all();
    }

    /// Waits to be called. True if that took too long.
    fn idle<'s>(&'s self, mut state: MutexGuard<'s, State>) -> (MutexGuard<'s, State>, bool) {
        state.idle += 1;
        let (mut state, waited) = self.wanted.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
        // The count and not the wake-up is believed: a condition variable may wake without a cause.
        if state.called > 0 {
            // Another thread may have been meant. It then finds that it was not called.
            state.called -= 1;
            state.coming -= 1;
            return (state, false);
        }
        state.idle -= 1;
        (state, waited.timed_out())
    }

    /// Waits for a moment. True if no job has ended in that time and some are queued.
    fn watch<'s>(&'s self, mut state: MutexGuard<'s, State>) -> (MutexGuard<'s, State>, bool) {
        // Others need not watch as well: one is enough to find that the queue does not move.
        state.watched = true;
        let (finished, look_after) = (state.finished, state.look_after);
        let (mut state, _) = self.nap.wait_timeout(state, look_after).unwrap_or_else(PoisonError::into_inner);
        state.watched = false;
        let has_moved = state.finished != finished;
        state.look_after = match (state.queue.is_empty(), has_moved) {
            (true, _) => LOOK_AFTER,
            (false, true) => (2 * look_after).min(LOOK_AFTER_MAX),
            (false, false) => (look_after / 2).max(LOOK_AFTER_MIN),
        };
        let is_stuck = !has_moved && !state.queue.is_empty();
        (state, is_stuck)
    }

    fn run_next<'s>(self: &'s Arc<Self>, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let Some(job) = state.queue.pop_front() else { return state };
        state.running += 1;
        // Before the job, which may never return.
        self.call_helper(state);
        let is_callback = matches!(job, Job::Call(_));
        job.run();
        let mut state = self.state();
        state.running -= 1;
        state.finished += 1;
        if is_callback {
            state.callbacks -= 1;
            // The end of the pool waits for the last one.
            if state.callbacks == 0 {
                self.left.notify_all();
            }
        }
        state
    }

    /// Lets the threads end that have nothing to do, and waits until all callbacks have returned; false if the deadline
    /// comes first. In a thread of a notifier it does not wait: the callback may be its caller, or wait for it.
    pub(crate) fn close(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        state.closing = true;
        // Idle threads would otherwise keep the pool's end for as long as they linger.
        self.wanted.notify_all();
        if IS_NOTIFIER.get() {
            return true;
        }
        let mut grace = None;
        while state.threads > 0 || state.callbacks > 0 {
            let now = Instant::now();
            // Counted from the last callback on, since wakers may queue behind callbacks.
            let grace = (state.callbacks == 0).then(|| *grace.get_or_insert(now + WAKERS_GRACE));
            let until = [grace, deadline].into_iter().flatten().min();
            if until.is_some_and(|until| until <= now) {
                return state.callbacks == 0;
            }
            if state.starved {
                drop(state);
                self.retry();
                state = self.state();
            }
            // The supervisor, which would ask again for a thread, has left.
            let most = if state.starved { RETRY_AFTER } else { Duration::MAX };
            let left = until.map_or(most, |until| most.min(until - now));
            state = self.left.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// A thread that will look at the queue.
enum Helper {
    /// None is needed, or one is on its way.
    None,
    /// One that idles is to be told.
    Called,
    /// One is to be made; it is counted already.
    Made,
}

impl State {
    fn helper(&mut self) -> Helper {
        if self.queue.is_empty() || self.watched || self.coming > 0 {
            return Helper::None;
        }
        self.coming += 1;
        if self.idle > 0 {
            self.idle -= 1;
            self.called += 1;
            return Helper::Called;
        }
        self.threads += 1;
        Helper::Made
    }
}

impl Job {
    fn run(self) {
        let run = || match self {
            Job::Wake(waker) => waker.wake(),
            Job::Call(callback) => callback(),
        };
        // The panic hook has reported a panic already.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            drop_payload(payload);
        }
    }
}

/// Drops the payload of a panic. Its destructor may panic, too.
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // This one is not tried again.
        std::mem::forget(again);
    }
}

/// Runs a callback in a copy of the host that was made by `fork`, which has no thread of the pool: in a fresh thread, or in
/// this one if the system refuses.
pub(crate) fn run_in_copy(callback: Callback) {
    // Shared, since a thread that is refused takes its closure with it.
    let callback = Arc::new(Mutex::new(Some(callback)));
    let take = |callback: &Mutex<Option<Callback>>| callback.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&callback);
    let spawned = thread::Builder::new().name("pool-notify".into()).spawn(move || {
        take(&theirs).into_iter().for_each(|callback| Job::Call(callback).run());
    });
    if spawned.is_err() {
        take(&callback).into_iter().for_each(|callback| Job::Call(callback).run());
    }
}

#[cfg(test)]
mod tests;
