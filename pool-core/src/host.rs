//! The host: the state that all threads of a pool share. It holds the engine under its lock, and the places to wait.
//!
#![doc = include_str!("host/waiting.md")]

pub(crate) mod alarm;
pub(crate) mod leadership;
pub(crate) mod notifier;
pub(crate) mod preload;
pub(crate) mod rest;
pub(crate) mod router;
pub(crate) mod supervisor;

#[cfg(feature = "remote")]
mod capacity;
mod door;
pub(crate) mod ears;
pub(crate) mod events;
pub(crate) mod hearing;
mod milestones;
pub(crate) mod readers;
pub(crate) mod seeing;
mod spec;
mod submitting;
pub(crate) mod threads;
pub(crate) mod tracing;
pub(crate) mod turn;
mod wait;

#[cfg(any(feature = "remote", feature = "tracing"))]
use std::sync::OnceLock;
#[cfg(feature = "remote")]
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use nix::sys::eventfd::EventFd;
use nix::unistd::gettid;
use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Hub, Sleeper};

use crate::attachments::presence::Forgotten;
use crate::engine::Engine;
use crate::engine::accounts::Deferred;
use crate::engine::room::Amount;
use crate::error::{Error, ErrorKind, Result};
use crate::host::alarm::{Alarm, NEVER};
use crate::host::leadership::Leadership;
use crate::host::notifier::{Job, Notifier, RETRY_AFTER};
use crate::host::readers::Readers;
use crate::host::rest::{Rest, Resting};
use crate::job::waiters::Waiter;
use crate::launch::control;
#[cfg(feature = "tracing")]
use crate::observe::forwarded::contexts::Contexts;
use crate::process::fork_check::ForkCheck;
use crate::process::standing;
use crate::scheduler::{JobSpec, WorkerId};
use crate::task::TaskOptions;
use crate::task::state_type::StateType;
use crate::units::Nanos;
#[cfg(feature = "remote")]
use crate::wire::Link;

#[derive(Debug)]
pub(crate) struct Host {
    engine: Mutex<Engine>,
    pub(crate) hub: Hub,
    leadership: Leadership,
    pub(crate) notifier: Arc<Notifier>,
    /// A limit is set on pending items or bytes, so a submission may have to wait.
    is_bounded: bool,
    most_pending: Amount,
    /// Options of tasks that set none.
    pub(crate) defaults: TaskOptions,
    /// The states that its workers have.
    states: Vec<StateType>,
    supervision: Mutex<SupervisorQueue>,
    /// The time at which the scheduler must look at the clock next. The supervisor sleeps until then.
    alarm: Alarm,
    /// Signalled when the supervisor has left.
    ended: Condvar,
    pub(crate) bell: Arc<EventFd>,
    /// Arrays that workers are still to forget.
    pub(crate) forgotten: Arc<Forgotten>,
    /// The spans in which jobs are submitted, if spans are forwarded.
    #[cfg(feature = "tracing")]
    pub(crate) contexts: OnceLock<Arc<Contexts>>,
    /// Threads that pass on events and write the trace.
    pub(crate) readers: Readers,
    /// The way in which the router sleeps.
    rest: Rest,
    /// The pool is over: the router ends.
    pub(crate) is_over: AtomicBool,
    /// Grows with each submission. A hint for the router.
    submission_count: AtomicU32,
    /// See [`spec::specs`].
    specs: Box<[Option<JobSpec>]>,
    /// Identifies the process that created the pool. A forked child inherits this struct and must not use it.
    pub(crate) owner: ForkCheck,
    /// Items run on other machines.
    is_remote: bool,
    /// The way there, which ends with the workers.
    #[cfg(feature = "remote")]
    pub(crate) link: OnceLock<Weak<dyn Link>>,
}

/// Requests to the supervisor, and whether it has left.
#[derive(Debug, Default)]
struct SupervisorQueue {
    launches: Vec<WorkerId>,
    /// All processes are gone, and the supervisor has left.
    is_over: bool,
}

impl Host {
    /// Creates the host of a pool that is called `name`.
    pub(crate) fn new(
        mut engine: Engine,
        hub: Hub,
        most_pending: Amount,
        defaults: TaskOptions,
        states: Vec<StateType>,
        name: &str,
    ) -> Result<Arc<Self>> {
        // An eventfd and no condition variable: the supervisor also sleeps on sockets and pidfds.
        let bell = Arc::new(control::bell()?);
        let forgotten = Forgotten::new(Arc::clone(&bell));
        engine.forgotten = Some(Arc::clone(&forgotten));
        let is_remote = engine.is_remote();
        Ok(Arc::new(Host {
            engine: Mutex::new(engine),
            hub,
            leadership: Leadership::default(),
            notifier: Notifier::new(name, Arc::clone(&bell)),
            is_bounded: most_pending != Amount::UNLIMITED,
            most_pending,
            defaults,
            supervision: Mutex::default(),
            alarm: Alarm::new(),
            ended: Condvar::new(),
            bell,
            forgotten,
            #[cfg(feature = "tracing")]
            contexts: OnceLock::new(),
            readers: Readers::default(),
            rest: Rest::new(),
            is_over: AtomicBool::new(false),
            submission_count: AtomicU32::new(0),
            specs: spec::specs(&defaults, &states, is_remote),
            states,
            owner: ForkCheck::here(),
            is_remote,
            #[cfg(feature = "remote")]
            link: OnceLock::new(),
        }))
    }

    #[inline]
    fn engine(&self) -> MutexGuard<'_, Engine> {
        // No code of the user's runs under the lock. If the pool's own has panicked all the same, other threads go on.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine, unless another thread has it.
    #[inline]
    fn try_engine(&self) -> Option<MutexGuard<'_, Engine>> {
        match self.engine.try_lock() {
            Ok(engine) => Some(engine),
            Err(TryLockError::Poisoned(engine)) => Some(engine.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn supervision(&self) -> MutexGuard<'_, SupervisorQueue> {
        self.supervision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that the host forked has all objects of the pool, but shares no memory with the workers.
    #[inline]
    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.owner.is_here() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "the pool belongs to the process that made it, of which this is a copy"))
    }

    /// True in a thread that is a worker of this pool.
    pub(crate) fn is_worker_here(&self) -> bool {
        // First: few threads are workers, and the others need no lock.
        standing::is_thread() && self.engine().pids().contains(&(gettid().as_raw() as u32))
    }

    /// As [`check_owner`](Host::check_owner), for what waits for workers: one that is a thread would wait for itself.
    pub(crate) fn check_wait(&self) -> Result<()> {
        self.check_owner()?;
        if self.is_worker_here() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this thread is a worker of the pool, and would wait for itself",
            ));
        }
        Ok(())
    }

    /// Runs `body` on the engine under its lock, then the work that follows from it, outside of the lock.
    #[inline]
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut Engine) -> R) -> R {
        self.carry_out(self.engine(), body)
    }

    /// As [`with`](Host::with), unless another thread has the engine.
    #[inline]
    fn try_with<R>(&self, body: impl FnOnce(&mut Engine) -> R) -> Option<R> {
        Some(self.carry_out(self.try_engine()?, body))
    }

    #[inline]
    fn carry_out<R>(&self, mut engine: MutexGuard<'_, Engine>, body: impl FnOnce(&mut Engine) -> R) -> R {
        let result = body(&mut engine);
        self.follow_up(engine);
        result
    }

    /// Does the work that follows from a change of the engine. It stands apart, since it is the same for all changes.
    fn follow_up(&self, mut engine: MutexGuard<'_, Engine>) {
        // Actions first: they settle items, and with that make room.
        engine.act();
        engine.settle_waits();
        let (notices, deferred) = engine.take_deferred();
        // Under the lock, which orders the writers of `due`; the supervisor reads it without.
        let is_early = self.alarm.set(engine.wake_at().unwrap_or(NEVER));
        drop(engine);
        let wakes_threads = deferred.is_some_and(|deferred| self.run(deferred));
        if is_early || notices.kills {
            self.nudge();
        }
        if notices.progress || wakes_threads {
            if wakes_threads {
                // The leader may be one of these threads, and does not sleep by parking.
                self.leadership.note_taken();
            }
            self.hub.notify_if(Sleeper::Caller, || self.leadership.has_unregistered());
        }
        // Not under the lock: waking a thread is a system call.
        if notices.logged {
            self.readers.wake();
        }
        // Behind the lock, which the router held when it began this rest.
        if notices.quiet && self.rest.end(Resting::Sleeps) {
            // From now on the router must look up from time to time, instead of sleeping until it is notified.
            self.hub.notify(Sleeper::Router);
        }
    }

    /// Wakes the waiters, and hands launches to the supervisor. Returns whether threads of callers are among the waiters.
    #[inline(never)]
    fn run(&self, deferred: Deferred) -> bool {
        let Deferred { waiters, woken, launches, notices: _ } = deferred;
        // All wakers and callbacks of one round go to the notifier together: one lock, and one thread to wake.
        let mut jobs = Vec::new();
        let mut wakes_threads = false;
        let mut wake = |waiter| match waiter {
            Waiter::Thread(thread) | Waiter::AtEnd(thread) => {
                // Unparking runs no code of the user's, so this thread does it itself.
                wakes_threads = true;
                thread.unpark();
            }
            Waiter::OneOf(queue, number) => {
                wakes_threads = true;
                queue.push(number);
            }
            Waiter::Task(waker) | Waiter::TaskNews(waker) => jobs.push(Job::Wake(waker)),
            Waiter::Callback(callback) => jobs.push(Job::Call(callback)),
        };
        woken.into_iter().for_each(&mut wake);
        // After those that wait for room, which may have waited longer.
        for waiters in waiters {
            waiters.for_each(&mut wake);
        }
        if !launches.is_empty() {
            self.supervision().launches.extend(launches);
            self.nudge();
        }
        if !jobs.is_empty() {
            self.notifier.push(jobs);
        }
        wakes_threads
    }

    /// Makes the supervisor look.
    pub(crate) fn nudge(&self) {
        // It fails only if the supervisor has been told 2^64 times and has not looked.
        let _ = self.bell.write(1);
    }

    /// The workers that the supervisor is to launch.
    pub(crate) fn take_launches(&self) -> Vec<WorkerId> {
        std::mem::take(&mut self.supervision().launches)
    }

    /// Announces that the supervisor is about to sleep. Returns the time until which it may.
    pub(crate) fn supervisor_sleeps(&self) -> Nanos {
        let latest =
            if self.notifier.retry() { monotonic_ns().saturating_add(RETRY_AFTER.as_nanos() as Nanos) } else { NEVER };
        self.alarm.sleep(latest)
    }

    pub(crate) fn supervisor_left(&self) {
        self.supervision().is_over = true;
        // Set before the router is notified, which looks for it when it wakes.
        self.is_over.store(true, Ordering::Release);
        self.hub.notify(Sleeper::Router);
        self.ended.notify_all();
        self.readers.wake();
    }

    /// Waits for the end of the pool; false if the deadline comes first.
    pub(crate) fn wait_over(&self, deadline: Option<Instant>) -> bool {
        let mut supervision = self.supervision();
        // Asked again after each wake-up, which may be without a cause.
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
}

#[cfg(test)]
mod tests;
