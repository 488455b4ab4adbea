//! What all threads of a pool share: the engine under its lock, and the places to wait.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use pool_ipc::{Hub, Patience, Sleeper};

use crate::callbacks::Callbacks;
use crate::engine::{Engine, Errands};
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Lineage;
use crate::payload::Call;
use crate::rack::SlotRef;
use crate::room::{Place, Room};
use crate::scheduler::{Nanos, Terms};
use crate::slot::Waiter;
use crate::table::Entry;
use crate::task::Options;

#[derive(Debug)]
pub(crate) struct Shared {
    engine: Mutex<Engine>,
    pub(crate) hub: Hub,
    room: Room,
    pub(crate) callbacks: Arc<Callbacks>,
    /// Items that may be unsettled before a submission waits.
    pub(crate) max_pending: u64,
    /// Options of tasks that set none.
    pub(crate) defaults: Options,
    supervision: Mutex<Supervision>,
    /// When the scheduler wants the clock to be looked at ([`NEVER`] if not); changed under the engine's lock.
    due: AtomicU64,
    /// Until when the supervisor sleeps, if no bell rings.
    sleeps_until: AtomicU64,
    /// The last thread of the pool has ended, or something was settled while somebody waited for that.
    ended: Condvar,
    pub(crate) bell: EventFd,
    /// The router sleeps until it is rung.
    router_dozes: AtomicBool,
    /// The router may end.
    pub(crate) is_over: AtomicBool,
    /// Grows with each submission: a hint, for the router.
    bustle: AtomicU32,
    /// A process that the host forks has this object, too, and none of its business.
    pub(crate) owner: Lineage,
}

/// Between the supervisor and all others.
#[derive(Debug, Default)]
struct Supervision {
    launches: Vec<usize>,
    /// All processes are gone and the supervisor has left.
    is_over: bool,
    /// Threads that wait for pending jobs to become fewer.
    crowd: Vec<Thread>,
}

impl Shared {
    pub(crate) fn new(engine: Engine, hub: Hub, max_pending: u64, defaults: Options) -> Result<Arc<Self>> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_flags(flags).map_err(|error| Error::system("eventfd", error))?;
        Ok(Arc::new(Shared {
            engine: Mutex::new(engine),
            hub,
            room: Room::default(),
            callbacks: Arc::default(),
            max_pending,
            defaults,
            supervision: Mutex::default(),
            due: AtomicU64::new(NEVER),
            sleeps_until: AtomicU64::new(0),
            ended: Condvar::new(),
            bell,
            router_dozes: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            bustle: AtomicU32::new(0),
            owner: Lineage::here(),
        }))
    }

    #[inline]
    fn engine(&self) -> MutexGuard<'_, Engine> {
        // Nothing under the lock runs code of the user's; if ours has panicked all the same, the others go on.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supervision(&self) -> MutexGuard<'_, Supervision> {
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
        let errands = engine.errands.take();
        let is_early = self.note_due(engine.scheduler.wake_at());
        drop(engine);
        if is_early {
            self.nudge();
        }
        if let Some(errands) = errands {
            self.run(errands);
        }
        result
    }

    /// Notes when the clock is to be looked at; whether the supervisor would sleep too long.
    #[inline]
    fn note_due(&self, wake_at: Option<Nanos>) -> bool {
        let due = wake_at.unwrap_or(NEVER);
        if self.due.load(Ordering::Relaxed) == due {
            return false;
        }
        // Either this sees until when the supervisor sleeps, or the supervisor sees this before it does.
        self.due.store(due, Ordering::SeqCst);
        due < self.sleeps_until.load(Ordering::SeqCst)
    }

    #[inline]
    fn run(&self, errands: Errands) {
        let Errands { waiters, launches, progress, quiet, kills } = errands;
        for waiter in waiters {
            match waiter {
                Waiter::Thread(thread) => thread.unpark(),
                Waiter::Task(waker) => waker.wake(),
                Waiter::OneOf(arrivals, number) => arrivals.push(number),
                Waiter::Callback(callback) => self.callbacks.run(callback),
            }
        }
        if kills {
            self.nudge();
        }
        if !launches.is_empty() {
            self.supervision().launches.extend(launches);
            self.nudge();
        }
        if progress && self.max_pending < u64::MAX {
            self.supervision().crowd.drain(..).for_each(|thread| thread.unpark());
        }
        if progress {
            self.hub.ring(Sleeper::Caller);
        }
        if quiet && self.router_dozes.load(Ordering::Relaxed) {
            // Lest it sleep until it is rung: from now on it looks up from time to time.
            self.router_dozes.store(false, Ordering::Relaxed);
            self.hub.ring(Sleeper::Router);
        }
    }

    /// Makes the supervisor look.
    pub(crate) fn nudge(&self) {
        // It can fail only if the supervisor has been told 2^64 times and not looked.
        let _ = self.bell.write(1);
    }

    /// What the supervisor is to launch.
    pub(crate) fn take_launches(&self) -> Vec<usize> {
        std::mem::take(&mut self.supervision().launches)
    }

    /// The supervisor is about to sleep: until when it may.
    pub(crate) fn supervisor_sleeps(&self) -> Nanos {
        loop {
            let due = self.due.load(Ordering::SeqCst);
            self.sleeps_until.store(due, Ordering::SeqCst);
            if self.due.load(Ordering::SeqCst) >= due {
                return due;
            }
        }
    }

    pub(crate) fn supervisor_left(&self) {
        self.supervision().is_over = true;
        self.is_over.store(true, Ordering::Release);
        self.hub.ring(Sleeper::Router);
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
            let place = self.room.enter(&self.hub);
            match place {
                Place::Leader => self.lead(deadline, &mut ready),
                Place::Follower => {
                    register(thread::current());
                    if !ready() {
                        park(deadline);
                    }
                }
            }
            if self.room.leave(place, &self.hub) {
                // Replies that came before the workers knew that nobody leads any more.
                self.with(Engine::route_news);
            }
        }
        true
    }

    /// Takes in everybody's replies until `ready` or the deadline.
    fn lead(&self, deadline: Option<Instant>, ready: &mut impl FnMut() -> bool) {
        let mut nap = LEADER_NAP_MIN;
        loop {
            let (has_quiet_calls, expects_news) = self.with(|engine| {
                engine.route_news();
                (engine.has_quiet_calls(), engine.expects_news())
            });
            if ready() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            // What takes long is not waited for awake: that would take CPUs from the workers.
            let patience = if expects_news { Patience::default() } else { Patience::NONE };
            if patience.wait(|| ready() || self.has_news_now()) {
                nap = LEADER_NAP_MIN;
                continue;
            }
            let until = earlier(deadline, has_quiet_calls.then(|| Instant::now() + nap));
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
            let bustle = self.bustle.load(Ordering::Relaxed);
            if bustle.wrapping_sub(std::mem::replace(&mut seen, bustle)) > BURST {
                // Whoever submits takes replies in as well, so all that two could do is to wait for each other's lock.
                thread::sleep(NAP_MIN);
                continue;
            }
            // A leader takes all replies in, and is not to be disturbed; but calls that are quiet may be out when he leaves.
            let is_led = || self.room.is_led();
            if is_led() {
                nap = NAP_BESIDE_LEADER;
            }
            let dozes = self.with(|engine| {
                if !is_led() {
                    engine.route();
                }
                let dozes = !engine.has_quiet_calls();
                self.router_dozes.store(dozes, Ordering::Relaxed);
                dozes
            });
            let until = (!dozes).then(|| Instant::now() + nap);
            let is_wanted = || dozes && !self.router_dozes.load(Ordering::Relaxed);
            let ready = || is_over() || is_wanted() || !is_led() && self.engine().has_news();
            let rung = self.hub.wait(Sleeper::Router, ready, until);
            nap = if rung { NAP_MIN } else { (2 * nap).min(NAP_MAX) };
        }
    }

    // ---- submitting ------------------------------------------------------------------------------------------------

    /// Notes `count` submissions. Those who submit one after the other must [route](Engine::route) in between.
    #[inline]
    pub(crate) fn note_submissions(&self, count: u32) {
        // Not exact if two do so at once, which is good enough for a hint.
        self.bustle.store(self.bustle.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// What a task's options, and where they are silent the pool's, say of a job.
    ///
    /// # Errors
    ///
    /// An option that is out of range.
    #[inline]
    pub(crate) fn terms(&self, entry: &'static Entry, options: Options) -> Result<Terms> {
        self.check_owner()?;
        let options = options.or(self.defaults);
        if options.chunk_size == Some(0) {
            let text = "a chunk size must be at least 1, and is 0";
            return Err(Error::new(ErrorKind::InvalidInput, text).of_task(entry));
        }
        Ok(Terms {
            task: entry.index(),
            timeout: options.timeout_ns(entry)?,
            retries: options.retries.unwrap_or(0),
            retry_panics: options.retry_panics,
            chunk_size: options.chunk_size.map(|items| u32::try_from(items).unwrap_or(u32::MAX)),
            urgent: false,
            lazy: false,
            bulk: false,
            calls: false,
        })
    }

    /// Takes a call of the pool's, when there is room for it.
    ///
    /// # Errors
    ///
    /// Why the pool takes none.
    pub(crate) fn call(self: &Arc<Self>, call: Call, options: Options, urgent: bool) -> Result<SlotRef> {
        let terms = Terms { urgent, ..self.terms(call.entry, options)? };
        self.wait_for_room();
        self.note_submissions(1);
        self.with(|engine| engine.call(self, terms, call))
    }

    /// Waits until fewer items are pending than the pool allows.
    #[inline]
    pub(crate) fn wait_for_room(&self) {
        if self.max_pending < u64::MAX {
            let has_room = || self.engine().scheduler.unsettled() < self.max_pending;
            self.wait(None, has_room, |thread| self.supervision().crowd.push(thread));
        }
    }
}

/// No time at all.
const NEVER: Nanos = Nanos::MAX;

/// Calls that are too short to announce their end are looked for after this time, and after longer and longer ones.
const NAP_MIN: Duration = Duration::from_millis(1);
const NAP_MAX: Duration = Duration::from_millis(64);
/// The router's naps while somebody leads.
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
