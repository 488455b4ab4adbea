//! What all threads of a pool share: the engine under its lock, and the places to wait.
//!
#![doc = include_str!("host/waiting.md")]

pub(crate) mod alarm;
pub(crate) mod leadership;
pub(crate) mod notifier;
pub(crate) mod rest;
pub(crate) mod supervisor;

mod door;
mod submitting;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;
use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Hub, Sleeper};

use crate::engine::Engine;
use crate::engine::accounts::Deferred;
use crate::error::{Error, ErrorKind, Result};
use crate::host::alarm::{Alarm, NEVER};
use crate::host::leadership::{Leadership, Place};
use crate::host::notifier::{Job, Notifier, RETRY_AFTER};
use crate::host::rest::{Rest, Resting};
use crate::job::waiters::Waiter;
use crate::launch::control;
use crate::process::fork_check::ForkCheck;
use crate::scheduler::WorkerId;
use crate::task::TaskOptions;
use crate::units::Nanos;

#[derive(Debug)]
pub(crate) struct Host {
    engine: Mutex<Engine>,
    pub(crate) hub: Hub,
    room: Leadership,
    pub(crate) notifier: Arc<Notifier>,
    /// Items that may be unsettled before a submission waits.
    pub(crate) max_pending: u64,
    /// TaskOptions of tasks that set none.
    pub(crate) defaults: TaskOptions,
    supervision: Mutex<SupervisorQueue>,
    /// When the scheduler wants the clock to be looked at; set under the engine's lock. The supervisor sleeps until then.
    alarm: Alarm,
    /// The last thread of the pool has ended, or something was settled while somebody waited for that.
    ended: Condvar,
    pub(crate) bell: Arc<EventFd>,
    /// How the router sleeps.
    rest: Rest,
    /// The router may end.
    pub(crate) is_over: AtomicBool,
    /// Grows with each submission: a hint, for the router.
    submission_count: AtomicU32,
    /// A process that the host forks has this object, too, and none of its business.
    pub(crate) owner: ForkCheck,
}

/// Between the supervisor and all others.
#[derive(Debug, Default)]
struct SupervisorQueue {
    launches: Vec<WorkerId>,
    /// All processes are gone and the supervisor has left.
    is_over: bool,
    /// Threads that wait for pending jobs to become fewer.
    waiting_submitters: Vec<Thread>,
    /// Tasks that wait for the same.
    waiting_tasks: Vec<Waker>,
}

impl Host {
    /// `name` is the pool's.
    pub(crate) fn new(
        engine: Engine,
        hub: Hub,
        max_pending: u64,
        defaults: TaskOptions,
        name: &str,
    ) -> Result<Arc<Self>> {
        let bell = Arc::new(control::bell()?);
        Ok(Arc::new(Host {
            engine: Mutex::new(engine),
            hub,
            room: Leadership::default(),
            notifier: Notifier::new(name, Arc::clone(&bell)),
            max_pending,
            defaults,
            supervision: Mutex::default(),
            alarm: Alarm::new(),
            ended: Condvar::new(),
            bell,
            rest: Rest::new(),
            is_over: AtomicBool::new(false),
            submission_count: AtomicU32::new(0),
            owner: ForkCheck::here(),
        }))
    }

    #[inline]
    fn engine(&self) -> MutexGuard<'_, Engine> {
        // Nothing under the lock runs code of the user's; if ours has panicked all the same, the others go on.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supervision(&self) -> MutexGuard<'_, SupervisorQueue> {
        self.supervision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that the host forked has all objects of the pool, but not what it shares with the workers.
    #[inline]
    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.owner.is_here() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "the pool belongs to the process that made it, of which this is a copy"))
    }

    /// Does something to the engine, then what follows from it.
    #[inline]
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine();
        let result = body(&mut engine);
        engine.act();
        let deferred = engine.take_deferred();
        let is_early = self.alarm.set(engine.wake_at().unwrap_or(NEVER));
        drop(engine);
        if is_early {
            self.nudge();
        }
        if let Some(deferred) = deferred {
            self.run(deferred);
        }
        result
    }

    #[inline]
    fn run(&self, deferred: Deferred) {
        let Deferred { waiters, launches, progress, quiet, kills } = deferred;
        let mut jobs = Vec::new();
        for waiters in waiters {
            waiters.for_each(|waiter| match waiter {
                Waiter::Thread(thread) | Waiter::AtEnd(thread) => thread.unpark(),
                Waiter::OneOf(queue, number) => queue.push(number),
                Waiter::Task(waker) | Waiter::TaskNews(waker) => jobs.push(Job::Wake(waker)),
                Waiter::Callback(callback) => jobs.push(Job::Call(callback)),
            });
        }
        if kills {
            self.nudge();
        }
        if !launches.is_empty() {
            self.supervision().launches.extend(launches);
            self.nudge();
        }
        if progress && self.max_pending < u64::MAX {
            let mut supervision = self.supervision();
            supervision.waiting_submitters.drain(..).for_each(|thread| thread.unpark());
            jobs.extend(supervision.waiting_tasks.drain(..).map(Job::Wake));
        }
        if progress {
            self.hub.notify(Sleeper::Caller);
        }
        if quiet && self.rest.end(Resting::Dozes) {
            // Lest it sleep until it is rung: from now on it looks up from time to time.
            self.hub.notify(Sleeper::Router);
        }
        if !jobs.is_empty() {
            self.notifier.push(jobs);
        }
    }

    /// Makes the supervisor look.
    pub(crate) fn nudge(&self) {
        // It can fail only if the supervisor has been told 2^64 times and not looked.
        let _ = self.bell.write(1);
    }

    /// What the supervisor is to launch.
    pub(crate) fn take_launches(&self) -> Vec<WorkerId> {
        std::mem::take(&mut self.supervision().launches)
    }

    /// The supervisor is about to sleep: until when it may.
    pub(crate) fn supervisor_sleeps(&self) -> Nanos {
        let latest =
            if self.notifier.retry() { monotonic_ns().saturating_add(RETRY_AFTER.as_nanos() as Nanos) } else { NEVER };
        self.alarm.sleep(latest)
    }

    pub(crate) fn supervisor_left(&self) {
        self.supervision().is_over = true;
        self.is_over.store(true, Ordering::Release);
        self.hub.notify(Sleeper::Router);
        self.ended.notify_all();
    }

    /// Waits for the end of the pool; false if the deadline comes first.
    pub(crate) fn wait_over(&self, deadline: Option<Instant>) -> bool {
        let mut supervision = self.supervision();
        while !supervision.is_over {
            supervision = match deadline {
                None => self.ended.wait(supervision).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.ended.wait_timeout(supervision, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    // ---- waiting ---------------------------------------------------------------------------------------------------

    /// Waits until `ready`; false if the deadline comes first, or in a copy of the host, where it will never be.
    /// `register` has the thread unparked when it should look again.
    pub(crate) fn wait(
        &self,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> bool,
        mut register: impl FnMut(Thread),
    ) -> bool {
        while !ready() {
            if self.check_owner().is_err() {
                return false;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                // A last look, so that a wait of no time at all takes in what is there.
                self.with(Engine::route);
                return ready();
            }
            let seat = Seat { host: self, place: self.room.enter(&self.hub) };
            match seat.place {
                Place::Leader => self.lead(deadline, &mut ready),
                Place::Follower => {
                    register(thread::current());
                    if !ready() {
                        park(deadline);
                    }
                }
            }
        }
        true
    }

    /// Nobody leads any more.
    fn take_in_the_last(&self) {
        // Replies that came before the workers knew.
        self.with(Engine::route_news);
        if self.rest.end(Resting::Leans) {
            // It has left quiet calls to the leader.
            self.hub.notify(Sleeper::Router);
        }
    }

    /// Takes in everybody's replies until `ready` or the deadline.
    fn lead(&self, deadline: Option<Instant>, ready: &mut impl FnMut() -> bool) {
        let mut nap = LEADER_NAP_MIN;
        loop {
            let (has_silent_calls, expects_news) = self.with(|engine| {
                engine.route_news();
                (engine.has_silent_calls(), engine.expects_news())
            });
            if ready() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            // What takes long is not waited for awake: that would take CPUs from the workers.
            let backoff = if expects_news { Backoff::default() } else { Backoff::NONE };
            if backoff.wait(|| ready() || self.has_news_now()) {
                nap = LEADER_NAP_MIN;
                continue;
            }
            let until = earlier(deadline, has_silent_calls.then(|| Instant::now() + nap));
            let rung = self.hub.wait(Sleeper::Caller, || ready() || self.engine().has_news(), until);
            nap = if rung { LEADER_NAP_MIN } else { (2 * nap).min(NAP_MAX) };
        }
    }

    /// As far as that can be seen without waiting for the lock.
    #[inline]
    fn has_news_now(&self) -> bool {
        match self.engine.try_lock() {
            Ok(mut engine) => engine.has_news(),
            Err(TryLockError::Poisoned(engine)) => engine.into_inner().has_news(),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Takes replies in while nobody waits for any. The router thread's life.
    pub(crate) fn route_for_nobody(&self) {
        let mut nap = NAP_MIN;
        let is_over = || self.is_over.load(Ordering::Acquire);
        let mut seen = 0;
        while !is_over() {
            let submission_count = self.submission_count.load(Ordering::Relaxed);
            if submission_count.wrapping_sub(std::mem::replace(&mut seen, submission_count)) > BURST {
                // Whoever submits takes replies in as well, so all that two could do is to wait for each other's lock.
                thread::sleep(NAP_MIN);
                continue;
            }
            // A leader takes all replies in, and is not to be disturbed. If one stays, the router leaves it all quiet calls.
            let is_led = || self.room.is_led();
            let mut was_led = false;
            let resting = self.with(|engine| {
                // Under the engine's lock: a leader that leaves takes it once more, and then ends this rest.
                was_led = is_led();
                if !was_led {
                    engine.route();
                }
                let resting = match engine.has_quiet_calls() {
                    false => Resting::Dozes,
                    true if was_led && nap >= NAP_MAX => Resting::Leans,
                    true => Resting::Naps,
                };
                self.rest.begin(resting);
                resting
            });
            if was_led {
                nap = nap.max(NAP_BESIDE_LEADER);
            }
            let until = (resting == Resting::Naps).then(|| Instant::now() + nap);
            let ready = || is_over() || self.rest.has_ended(resting) || !is_led() && self.engine().has_news();
            let rung = self.hub.wait(Sleeper::Router, ready, until);
            nap = if rung { NAP_MIN } else { (2 * nap).min(NAP_MAX) };
        }
    }
}

/// A place where a thread waits, left also by unwinding.
struct Seat<'s> {
    host: &'s Host,
    place: Place,
}

impl Drop for Seat<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.host.room.leave(self.place, &self.host.hub) {
            if thread::panicking() {
                // The engine may be what has panicked, so this is left to the router.
                self.host.rest.end_any();
                self.host.hub.notify(Sleeper::Router);
            } else {
                self.host.take_in_the_last();
            }
        }
    }
}

/// Calls that are too short to announce their end are looked for after this time, and after longer and longer ones.
const NAP_MIN: Duration = Duration::from_millis(1);
const NAP_MAX: Duration = Duration::from_millis(64);
/// The router's first nap while somebody leads.
const NAP_BESIDE_LEADER: Duration = Duration::from_millis(4);
/// A leader's first nap: he is told of all but the chunks of maps that have others behind them.
const LEADER_NAP_MIN: Duration = Duration::from_millis(8);

/// Submissions since the router last looked up that make it wait for [`NAP_MIN`].
pub(crate) const BURST: u32 = 32;

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn park(deadline: Option<Instant>) {
    match deadline {
        None => thread::park(),
        Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::handle::AsyncResult;
    use crate::job::batch::{Batch, CompletionRef};
    use crate::scheduler::{JobSpec, Scheduler, SchedulerConfig};

    fn config() -> SchedulerConfig {
        SchedulerConfig {
            workers: 0,
            max_tasks_per_worker: None,
            restart_limit: 0,
            idle_timeout: None,
            has_initializer: false,
            initializer_timeout: None,
        }
    }

    fn without_workers(max_pending: u64) -> Arc<Host> {
        let engine = Engine::new(Scheduler::new(config(), 0), None, None);
        let (hub, _) = Hub::create(0).unwrap();
        Host::new(engine, hub, max_pending, TaskOptions::default(), "test").unwrap()
    }

    #[test]
    fn a_leader_that_unwinds_leads_no_longer() {
        let host = without_workers(u64::MAX);
        let was_led = Cell::new(false);
        let ready = || {
            was_led.set(was_led.get() | host.room.is_led());
            assert!(!host.room.is_led(), "on purpose");
            false
        };
        assert!(catch_unwind(AssertUnwindSafe(|| host.wait(None, ready, drop))).is_err());
        assert!(was_led.get() && !host.room.is_led());
        // The next one can lead, and come to an end.
        assert!(!host.wait(Some(Instant::now() + Duration::from_millis(5)), || false, drop));
        assert!(!host.room.is_led());
    }

    #[test]
    fn who_asks_for_room_again_and_again_stands_in_the_crowd_once() {
        let host = without_workers(0);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| host.wait(None, || is_over.load(Ordering::Relaxed), drop));
            while !host.room.is_led() {
                thread::yield_now();
            }
            for _ in 0..20 {
                assert!(!host.wait_or_room(Some(Instant::now() + Duration::from_millis(1)), || false, drop));
            }
            let waiting_submitters = host.supervision().waiting_submitters.len();
            is_over.store(true, Ordering::Relaxed);
            host.hub.notify(Sleeper::Caller);
            assert_eq!(waiting_submitters, 1);
        });
    }

    /// Whoever takes in an outcome has the lock no longer when it hands over the callbacks, and the pool may end meanwhile.
    #[test]
    fn the_end_waits_for_a_callback_that_is_on_its_way() {
        let host = without_workers(u64::MAX);
        let job = Scheduler::<()>::new(config(), 0).submit(JobSpec::default(), |_| ());
        let completion = CompletionRef::new(&Batch::of_map(&host, job), 0);
        let has_run = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&has_run);
        AsyncResult::new(completion.clone(), |_| Ok(())).on_done(move |_| theirs.store(true, Ordering::Relaxed));
        let taken_in = completion.finish(None, None).into_iter().collect();
        assert!(!host.notifier.close(Some(Instant::now() + Duration::from_millis(20))));
        host.run(Deferred { waiters: taken_in, ..Deferred::default() });
        assert!(host.notifier.close(None) && has_run.load(Ordering::Relaxed));
    }
}
