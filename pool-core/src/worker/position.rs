//! The worker that this process is, and the place of its running item: index, attempt, seed and deadline. Tasks rarely ask, so
//! each chunk leaves a few words here, and all else is worked out on demand.

#![allow(unsafe_code)]

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{OrderReader, ProgressWriter};

use crate::lane::messages::Place;
use crate::process::fork_check::ForkCheck;
use crate::seed::derive;

/// The worker that runs the current task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    id: usize,
    incarnation: u32,
    pid: u32,
}

impl Worker {
    pub(crate) fn new(id: u32, incarnation: u32) -> Self {
        Worker { id: id as usize, incarnation, pid: std::process::id() }
    }

    /// The worker of another process.
    pub(crate) fn of_process(id: usize, incarnation: u32, pid: u32) -> Self {
        Worker { id, incarnation, pid }
    }

    /// Its number in the pool, from 0. A process that replaces it has the same.
    pub fn id(&self) -> usize {
        self.id
    }

    /// The number of processes that had this id before.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The time at which the current item will be killed, if its task has a [time limit](crate::Task::timeout). A task can stop
    /// before that and return a partial result.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    /// use std::time::Instant;
    ///
    /// #[pool_task]
    /// fn best_effort() -> u64 {
    ///     let deadline = pool_core::current_worker().and_then(|worker| worker.deadline()).unwrap();
    ///     (0..).take_while(|_| Instant::now() + Duration::from_millis(900) < deadline).count() as u64
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// assert!(Pool::new(1)?.apply(best_effort::Task.timeout(Duration::from_secs(1)), ())? > 0);
    /// # Ok(()) }
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        let deadline_ns = position().map_or(0, Position::deadline_ns);
        let left_ns = || deadline_ns.saturating_sub(monotonic_ns());
        (deadline_ns > 0).then(|| Instant::now() + Duration::from_nanos(left_ns()))
    }
}

/// The item that the current task runs for; from [`current_item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentItem {
    /// Its number in the input of the map, from 0; 0 in a call.
    pub index: u64,
    /// The number of this attempt at it, from 1; more than 1 after a [retry](crate::Task::retries).
    pub attempt: u32,
    /// A number for a generator of random numbers, the same at every attempt.
    ///
    /// It follows from the seed of the [pool](crate::PoolBuilder::seed) or the [task](crate::Task::seed), from the number of
    /// jobs that were submitted to the pool before this one, and from the index; not from the number of workers, nor from
    /// deaths and retries. If neither has a seed, it is drawn at random, and differs from one attempt to the next.
    pub seed: u64,
}

/// The item that this code runs for; `None` outside of a task's items, such as in an initializer or in the host.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
/// use pool_core::current_item;
///
/// #[pool_task]
/// fn throw_dice() -> u64 { current_item().map_or(0, |item| item.seed % 6 + 1) }
///
/// #[pool_task]
/// fn number(_: &str) -> Option<u64> { current_item().map(|item| item.index) }
///
/// # fn main() -> pool_core::Result<()> {
/// let throw = |workers| Pool::builder().workers(workers).seed(7).build()?.map(throw_dice::Task, [(); 100]);
/// assert_eq!(throw(1)?, throw(3)?);
///
/// assert_eq!(Pool::new(2)?.map(number::Task, ["a", "b"])?, [Some(0), Some(1)]);
/// assert_eq!(current_item(), None);
/// # Ok(()) }
/// ```
pub fn current_item() -> Option<CurrentItem> {
    position()?.item()
}

/// The words of one worker process. Threads that its tasks start read them, too.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Position {
    /// The time at which the current item will be killed, on the monotonic clock; 0 without a limit.
    deadline_ns: AtomicU64,
    /// The part of the time before it that is grace.
    grace_ns: AtomicU64,
    first: AtomicU64,
    /// The attempt, and above it [`SEEDED`].
    attempt: AtomicU64,
    seed: AtomicU64,
    worker: Worker,
    progress: ProgressWriter,
    orders: OrderReader,
    me: ForkCheck,
}

const SEEDED: u64 = 1 << 32;

impl Position {
    pub(crate) fn new(worker: Worker, progress: ProgressWriter, orders: OrderReader, me: ForkCheck) -> Self {
        Position {
            deadline_ns: AtomicU64::new(0),
            grace_ns: AtomicU64::new(0),
            first: AtomicU64::new(Place::NO_ITEM),
            attempt: AtomicU64::new(0),
            seed: AtomicU64::new(0),
            worker,
            progress,
            orders,
            me,
        }
    }

    /// A chunk begins. The deadline and the items of the one before must not be taken for its own.
    #[inline]
    pub(crate) fn begin(&self, place: Place, grace_ns: u64) {
        let Place { first, attempt, seed } = place;
        // Relaxed: the threads that read it were started by the item itself.
        self.deadline_ns.store(0, Ordering::Relaxed);
        self.grace_ns.store(grace_ns, Ordering::Relaxed);
        self.first.store(first, Ordering::Relaxed);
        self.attempt.store(u64::from(attempt) | seed.map_or(0, |_| SEEDED), Ordering::Relaxed);
        if let Some(seed) = seed {
            self.seed.store(seed, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn set_deadline(&self, deadline_ns: u64) {
        self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
    }

    /// The time on the monotonic clock at which the current item will be killed; 0 if it has no limit.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns.load(Ordering::Relaxed)
    }

    fn is_cancelled(&self) -> bool {
        let deadline_ns = self.deadline_ns();
        let is_late = || monotonic_ns() >= deadline_ns.saturating_sub(self.grace_ns.load(Ordering::Relaxed));
        // Without a time limit the clock need not be read.
        self.orders.is_cancelled(self.progress.request(), self.progress.item()) || deadline_ns > 0 && is_late()
    }

    fn item(&self) -> Option<CurrentItem> {
        let first = self.first.load(Ordering::Relaxed);
        // Added up here and not for each item: most tasks never ask.
        let index = match first {
            Place::NO_ITEM => return None,
            Place::CALL => 0,
            first => first + u64::from(self.progress.item()),
        };
        let attempt = self.attempt.load(Ordering::Relaxed);
        let seed = if attempt & SEEDED == 0 {
            // Stable within the item, though nothing was sent: other items of this process have another request, or another place in it.
            derive(derive(random_seed(), self.progress.request().into()), self.progress.item().into())
        } else {
            derive(self.seed.load(Ordering::Relaxed), index)
        };
        Some(CurrentItem { index, attempt: attempt as u32, seed })
    }
}

/// Whether the item that this code runs for should come to an end: its [time limit](crate::Task::timeout) is over, or it was
/// [cancelled](crate::AsyncResult::cancel). Its worker is killed when the [grace](crate::Task::grace) is over, too.
///
/// It is false outside of a worker. It costs a few loads, and with a time limit a look at the clock, but no system call, so a loop
/// may ask again and again. Threads that the task has started may ask, too. The answer is the host's: no task can change it.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// /// As many digits as there is time for.
/// #[pool_task]
/// fn search() -> u64 {
///     (0u64..).take_while(|_| !pool_core::is_cancelled()).last().unwrap_or(0)
/// }
///
/// # fn main() -> pool_core::Result<()> {
/// let patient = search::Task.timeout(Duration::from_millis(50)).grace(Duration::from_secs(60));
/// assert!(Pool::new(1)?.apply(patient, ())? > 0);
/// assert!(!pool_core::is_cancelled());
/// # Ok(()) }
/// ```
pub fn is_cancelled() -> bool {
    // SAFETY:
    // - it is null, or points to a leaked `Position`.
    let position = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
    // As `position()`, but without a system call.
    position.is_some_and(|position| position.me.is_here() && position.is_cancelled())
}

/// A seed of this process's own.
fn random_seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    // Drawn here and not before: a fork server that had drawn it would give all its workers the same.
    *SEED.get_or_init(|| RandomState::new().hash_one(std::process::id()))
}

/// A leaked position, or null. If a worker makes a pool with [`StartMethod::Fork`](crate::StartMethod::Fork), each copy
/// replaces it.
static CURRENT: AtomicPtr<Position> = AtomicPtr::new(std::ptr::null_mut());

/// Makes `position` that of this process, which is a worker from now on.
pub(crate) fn enter(position: Position) -> &'static Position {
    let position = Box::leak(Box::new(position));
    CURRENT.store(position, Ordering::Release);
    position
}

/// The position of this worker; `None` in any other process.
pub(crate) fn position() -> Option<&'static Position> {
    // SAFETY:
    // - it is null, or points to a leaked `Position`.
    let position = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
    // A process that a task forked has inherited the pointer, but is no worker.
    position.filter(|position| position.worker.pid == std::process::id())
}

/// The worker that this code runs in, `None` in any other process.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn whoami() -> Option<usize> { pool_core::current_worker().map(|worker| worker.id()) }
///
/// # fn main() -> pool_core::Result<()> {
/// assert_eq!(whoami(), None);
/// assert_eq!(Pool::new(1)?.apply(whoami::Task, ())?, Some(0));
/// # Ok(()) }
/// ```
pub fn current_worker() -> Option<Worker> {
    position().map(|position| position.worker)
}
