//! The worker that this process is, and the place of its running item: index, attempt, seed and deadline. Tasks rarely ask, so
//! each chunk leaves a few words here, and all else is worked out on demand.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{OrderReader, ProgressWriter};

use crate::lane::messages::Place;
use crate::process::fork_check::ForkCheck;
use crate::process::standing::Standing;
use crate::seed::derive;

/// The worker that runs the current task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    id: usize,
    incarnation: u32,
    pid: u32,
}

impl Worker {
    /// The worker that this process is.
    pub(crate) fn new(id: u32, incarnation: u32) -> Self {
        Worker::of_process(id as usize, incarnation, std::process::id())
    }

    /// The worker of any process, or of a thread of this number.
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

    /// Its process id. In a pool [in the process](crate::PoolBuilder::in_process) it is the number of the thread, by which
    /// debuggers and `ps -L` call it.
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
        let deadline_ns = with_position(|position| position.deadline_ns()).unwrap_or(0);
        let left_ns = || deadline_ns.saturating_sub(monotonic_ns());
        (deadline_ns > 0).then(|| Instant::now() + Duration::from_nanos(left_ns()))
    }
}

/// The item that the current task runs for; from [`current_item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentItem {
    /// Its number in the input of the map, from 0; 0 in a call. In a [broadcast](crate::Pool::broadcast) the place of the worker.
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
    with_position(|position| position.item())?
}

/// The words of one worker. Threads that the tasks of a worker process start read them, too.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Position<'w> {
    /// The time at which the current item will be killed, on the monotonic clock; 0 without a limit.
    deadline_ns: AtomicU64,
    /// The part of the time before it that is grace.
    grace_ns: AtomicU64,
    first: AtomicU64,
    /// The attempt, and above it [`SEEDED`].
    attempt: AtomicU64,
    seed: AtomicU64,
    /// None of the process or thread of a preload.
    worker: Option<Worker>,
    progress: ProgressWriter,
    orders: OrderReader,
    me: ForkCheck,
    standing: Standing<'w>,
    /// Drawn when it is first asked for, so in the worker itself: a fork server that had drawn it would give all its workers the
    /// same.
    random_seed: OnceLock<u64>,
}

const SEEDED: u64 = 1 << 32;

impl<'w> Position<'w> {
    pub(crate) fn new(
        worker: Option<Worker>,
        progress: ProgressWriter,
        orders: OrderReader,
        me: ForkCheck,
        standing: Standing<'w>,
    ) -> Self {
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
            standing,
            random_seed: OnceLock::new(),
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
        self.orders.is_cancelled(self.progress.request(), self.progress.item())
            || deadline_ns > 0 && is_late()
            // The item of a thread outlives the end of its pool.
            || !self.standing.is_here()
    }

    fn random_seed(&self) -> u64 {
        *self.random_seed.get_or_init(|| RandomState::new().hash_one(std::process::id()))
    }

    /// Index in its map, attempt, request and place in it of the current item.
    pub(crate) fn running(&self) -> Option<(Option<u64>, u32, u32, u32)> {
        let (first, number) = (self.first.load(Ordering::Relaxed), self.progress.item());
        // Added up here and not for each item: most tasks never ask.
        let index = match first {
            Place::NO_ITEM => return None,
            Place::CALL => None,
            first => Some(first + u64::from(number)),
        };
        Some((index, self.attempt.load(Ordering::Relaxed) as u32, self.progress.request(), number))
    }

    fn item(&self) -> Option<CurrentItem> {
        let (index, attempt, request, number) = self.running()?;
        // A call is the only item of its job.
        let index = index.unwrap_or(0);
        let seed = if self.attempt.load(Ordering::Relaxed) & SEEDED == 0 {
            // Stable within the item, though nothing was sent: other items of this worker have another request, or another place in it.
            derive(derive(self.random_seed(), request.into()), number.into())
        } else {
            derive(self.seed.load(Ordering::Relaxed), index)
        };
        Some(CurrentItem { index, attempt, seed })
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
    // As `with_position`, but without a system call.
    let is_cancelled = |position: &Position<'_>| position.me.is_here() && position.is_cancelled();
    with_any(is_cancelled).unwrap_or(false)
}

/// A leaked position, or null. If a worker makes a pool with [`StartMethod::Fork`](crate::StartMethod::Fork), each copy
/// replaces it.
static OF_PROCESS: AtomicPtr<Position<'static>> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// The position of the worker that this thread is, or null.
    static OF_THREAD: Cell<*const Position<'static>> = const { Cell::new(ptr::null()) };
}

/// Makes `position` that of this process, which is a worker from now on.
pub(crate) fn enter(position: Position<'static>) -> &'static Position<'static> {
    let position = Box::leak(Box::new(position));
    OF_PROCESS.store(position, Ordering::Release);
    position
}

impl Position<'_> {
    /// Runs `body` in this thread, of which this is the position meanwhile.
    pub(crate) fn run<R>(&self, body: impl FnOnce() -> R) -> R {
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                OF_THREAD.set(ptr::null());
            }
        }
        let _clear = Clear;
        // The lifetime is left out: the pointer is gone before it ends.
        OF_THREAD.set(ptr::from_ref(self).cast());
        body()
    }
}

/// The answer of the position of this thread, or else of this process, or of the one of which it is a copy.
fn with_any<R>(ask: impl FnOnce(&Position<'_>) -> R) -> Option<R> {
    // SAFETY:
    // - it is null, or points to the position of a `run` that is below in the stack of this thread.
    let of_thread = unsafe { OF_THREAD.get().as_ref() };
    // SAFETY:
    // - it is null, or points to a leaked `Position`.
    of_thread.or_else(|| unsafe { OF_PROCESS.load(Ordering::Acquire).as_ref() }).map(ask)
}

/// The answer of the position of this worker; `None` in code that is of no worker.
fn with_position<R>(ask: impl FnOnce(&Position<'_>) -> R) -> Option<R> {
    // A process that a task forked has inherited the pointer, but is no worker.
    with_any(|position| position.me.is_surely_here().then(|| ask(position)))?
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
    with_position(|position| position.worker)?
}
