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

/// Threads that run something before the next one has to see first whether the queue moves without it.
const EAGER_THREADS: usize = 2;

/// How long a thread waits for something to run before it ends.
const LINGER: Duration = Duration::from_millis(500);

/// After this time without a move the next thread takes over. Shorter the more often it was needed, longer while things
/// end at all: more threads do not make those faster that compute.
const LOOK_AFTER: Duration = Duration::from_millis(1);
const LOOK_AFTER_MIN: Duration = Duration::from_micros(250);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(8);

/// How often a thread is asked for again that the system has refused.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The end of the pool waits so long for wakers that run. A waker may wait for the very thread that ends the pool.
const WAKERS_GRACE: Duration = Duration::from_millis(100);

thread_local! {
    /// This is a thread of some pool's notifier.
    static IS_NOTIFIER: Cell<bool> = const { Cell::new(false) };
}

/// Something to run.
pub(crate) enum Job {
    Wake(Waker),
    Call(Callback),
}

pub(crate) struct Notifier {
    /// The pool's.
    name: String,
    /// The supervisor's: rung when a thread was refused.
    bell: Arc<EventFd>,
    state: Mutex<State>,
    /// A thread that idles is wanted.
    wanted: Condvar,
    /// Nobody rings it: the watcher's nap.
    nap: Condvar,
    /// All callbacks have returned, or a thread has ended.
    left: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// All threads, those included that have not begun.
    threads: usize,
    running: usize,
    idle: usize,
    /// Threads that have been made or called and have not looked at the queue since.
    coming: usize,
    /// Those of them that were called.
    called: usize,
    /// A thread looks whether the queue moves.
    watched: bool,
    /// How long it looks.
    look_after: Duration,
    /// Jobs that have been run.
    finished: u64,
    /// Callbacks that wait for their job, are on their way here, queue or run.
    callbacks: usize,
    /// The system has refused a thread.
    starved: bool,
    /// No thread lingers any more.
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

    /// Says that a callback will be [pushed](Notifier::push), when its job is done. From here on the end waits for it:
    /// whoever takes in the outcome pushes it behind all locks, and the pool may be over before that.
    pub(crate) fn expect_callback(&self) {
        self.state().callbacks += 1;
    }

    /// Has the jobs run soon, in threads of their own. Each callback must have been [expected](Notifier::expect_callback).
    pub(crate) fn push(self: &Arc<Self>, jobs: Vec<Job>) {
        let mut state = self.state();
        state.queue.extend(jobs);
        self.call_helper(state);
    }

    /// Sees to it that a thread looks at the queue if it is not empty.
    fn call_helper(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let helper = state.helper();
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

    /// A thread's life.
    fn serve(self: &Arc<Self>) {
        IS_NOTIFIER.set(true);
        let mut state = self.state();
        state.coming -= 1;
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

    /// Waits to be called; whether that took too long.
    fn idle<'s>(&'s self, mut state: MutexGuard<'s, State>) -> (MutexGuard<'s, State>, bool) {
        state.idle += 1;
        let (mut state, waited) = self.wanted.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
        if state.called > 0 {
            // Perhaps it was another one that was called, which then finds that it was not.
            state.called -= 1;
            state.coming -= 1;
            return (state, false);
        }
        state.idle -= 1;
        (state, waited.timed_out())
    }

    /// Waits for a moment; whether nothing has moved meanwhile.
    fn watch<'s>(&'s self, mut state: MutexGuard<'s, State>) -> (MutexGuard<'s, State>, bool) {
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
        self.call_helper(state);
        let is_callback = matches!(job, Job::Call(_));
        job.run();
        let mut state = self.state();
        state.running -= 1;
        state.finished += 1;
        if is_callback {
            state.callbacks -= 1;
            if state.callbacks == 0 {
                self.left.notify_all();
            }
        }
        state
    }

    /// Lets the threads end that have nothing to do, and waits until all callbacks have returned; false if the deadline
    /// comes first. In a thread of a notifier it does not wait: what it would wait for may be its caller, or wait for it.
    pub(crate) fn close(self: &Arc<Self>, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        state.closing = true;
        self.wanted.notify_all();
        if IS_NOTIFIER.get() {
            return true;
        }
        let mut grace = None;
        while state.threads > 0 || state.callbacks > 0 {
            let now = Instant::now();
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
            // The supervisor has left, which would ask again for a thread.
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
        // The panic hook has told of a panic; nobody else wants to know.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            drop_payload(payload);
        }
    }
}

/// Drops what a panic carried, whose destructor may panic, too.
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // This one is not tried again.
        std::mem::forget(again);
    }
}

/// Runs a callback in a copy of the host that was made by `fork`, which has no thread of the pool: in a fresh thread, or in
/// this one if the system refuses.
pub(crate) fn run_in_copy(callback: Callback) {
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
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn notifier() -> Arc<Notifier> {
        Notifier::new("test", Arc::new(EventFd::new().unwrap()))
    }

    fn push(notifier: &Arc<Notifier>, jobs: Vec<Job>) {
        let callbacks = jobs.iter().filter(|job| matches!(job, Job::Call(_)));
        callbacks.for_each(|_| notifier.expect_callback());
        notifier.push(jobs);
    }

    fn call(callback: impl FnOnce() + Send + 'static) -> Job {
        Job::Call(Box::new(callback))
    }

    /// Jobs that return when all of them run, and what hears of each.
    fn jobs_that_meet(count: usize) -> (Vec<Job>, Receiver<()>) {
        let (sender, receiver) = channel();
        let barrier = Arc::new(Barrier::new(count));
        let job = |_| {
            let (sender, barrier) = (sender.clone(), Arc::clone(&barrier));
            call(move || {
                barrier.wait();
                sender.send(()).unwrap();
            })
        };
        ((0..count).map(job).collect(), receiver)
    }

    #[test]
    fn a_thousand_jobs_that_wait_for_one_another_run() {
        let (notifier, (jobs, done)) = (notifier(), jobs_that_meet(1000));
        push(&notifier, jobs);
        for _ in 0..1000 {
            done.recv_timeout(SOON).unwrap();
        }
        assert!(notifier.close(None));
    }

    #[test]
    fn jobs_that_come_one_by_one_while_others_block_run() {
        let (notifier, (jobs, done)) = (notifier(), jobs_that_meet(100));
        for job in jobs {
            push(&notifier, vec![job, Job::Wake(Waker::noop().clone())]);
        }
        for _ in 0..100 {
            done.recv_timeout(SOON).unwrap();
        }
        assert!(notifier.close(None));
    }

    #[test]
    fn quick_jobs_need_few_threads() {
        let notifier = notifier();
        let (sender, done) = channel();
        let job = |_| {
            let sender = sender.clone();
            call(move || sender.send(()).unwrap())
        };
        push(&notifier, (0..10_000).map(job).collect());
        for _ in 0..10_000 {
            done.recv_timeout(SOON).unwrap();
        }
        let threads = notifier.state().threads;
        assert!(threads < 50, "{threads} threads");
        assert!(notifier.close(None));
    }

    /// Threads linger for a while, so one is enough for jobs that come one after the other; then they end by themselves.
    #[test]
    fn a_thread_lingers_and_ends() {
        let notifier = notifier();
        for _ in 0..100 {
            let (sender, done) = channel();
            push(&notifier, vec![call(move || sender.send(()).unwrap())]);
            done.recv_timeout(SOON).unwrap();
        }
        let threads = notifier.state().threads;
        assert!((1..50).contains(&threads), "{threads} threads");
        await_threads(&notifier, 0);
    }

    fn await_threads(notifier: &Arc<Notifier>, count: usize) {
        let deadline = Instant::now() + SOON;
        while notifier.state().threads != count {
            assert!(Instant::now() < deadline, "{} threads stay", notifier.state().threads);
            thread::sleep(LINGER / 10);
        }
    }

    #[test]
    fn the_end_waits_for_callbacks_but_not_for_wakers() {
        struct Blocks(Mutex<Receiver<()>>);

        impl std::task::Wake for Blocks {
            fn wake(self: Arc<Self>) {
                let _ = self.0.lock().unwrap().recv();
            }
        }

        let notifier = notifier();
        let (open_waker, gate) = channel();
        push(&notifier, vec![Job::Wake(Waker::from(Arc::new(Blocks(Mutex::new(gate)))))]);
        let (open_callback, gate) = channel::<()>();
        push(&notifier, vec![call(move || _ = gate.recv())]);
        assert!(!notifier.close(Some(Instant::now() + Duration::from_millis(50))));
        drop(open_callback);
        assert!(notifier.close(None));
        // The waker's.
        await_threads(&notifier, 1);
        drop(open_waker);
        assert!(notifier.close(None));
    }
}
