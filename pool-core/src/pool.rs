//! The pool: its parts, and its state. Submitting and shutting down are in files of their own.

mod broadcast;
mod calls;
#[cfg(feature = "arrays")]
mod chunks;
mod maps;
mod seeing;
mod shutdown;
mod waits;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::scheduler::{JobSpec, State};
use crate::stats::Stats;
use crate::task::Task;

/// A fixed number of worker processes, and the jobs that wait for them.
///
/// All methods take `&self`, so threads share it by reference or in an `Arc`. Dropping it is
/// [`terminate`](Pool::terminate) followed by a wait until nothing is left: no process, no thread, no descriptor. The
/// wait includes callbacks, so a callback must not wait for the thread that drops the pool. A pool that is dropped in
/// a callback or a waker does not wait for callbacks and wakers.
///
/// A process that the host forks cannot use its copy of the pool. Submitting and waiting are
/// [`ErrorKind::Unsupported`] errors there, closing, terminating and dropping do nothing,
/// and the copy reports that it is terminated and has no workers. No method blocks there.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(4)?;
/// assert_eq!(pool.apply(square::Task, 10)?, 100);
/// assert_eq!(pool.map(square::Task, 0..5)?, [0, 1, 4, 9, 16]);
/// pool.close();
/// pool.join()
/// # }
/// ```
pub struct Pool {
    host: Arc<Host>,
    /// Supervisor and router; taken by the first thread that waits for their end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The stages of a pool's life; from [`Pool::state`].
///
/// # Examples
///
/// ```
/// use pool_core::PoolState;
/// use pool_core::prelude::*;
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(1)?;
/// assert_eq!(pool.state(), PoolState::Open);
/// pool.close();
/// assert_eq!(pool.state(), PoolState::Closed);
/// pool.terminate();
/// assert_eq!(pool.state(), PoolState::Terminated);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolState {
    /// It takes jobs.
    Open,
    /// It takes no more jobs and finishes those that it has. It stays `Closed` when they are done.
    Closed,
    /// It was terminated: jobs that were not done have failed, and workers are killed.
    Terminated,
    /// Its workers could not be started, so it has ended as if it were terminated.
    Broken,
}

impl Pool {
    pub(crate) fn from_parts(host: Arc<Host>, threads: Vec<JoinHandle<()>>) -> Pool {
        Pool { host, threads: Mutex::new(threads) }
    }

    #[cfg(feature = "remote")]
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The options of a map; how its items arrive is added by the caller.
    fn spec<T: Task>(&self, task: &T) -> Result<JobSpec> {
        self.host.spec(T::entry(), &task.options())
    }

    /// The stage of the pool's life.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # use pool_core::PoolState;
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.state(), PoolState::Open);
    /// pool.close();
    /// assert_eq!(pool.state(), PoolState::Closed);
    /// # Ok(()) }
    /// ```
    pub fn state(&self) -> PoolState {
        match self.host.state() {
            State::Open => PoolState::Open,
            State::Closed => PoolState::Closed,
            State::Terminated => PoolState::Terminated,
            State::Broken => PoolState::Broken,
        }
    }

    /// The number of workers that the pool has, or is about to have: as the builder or [`resize`](Pool::resize) set it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(3)?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok(()) }
    /// ```
    pub fn workers(&self) -> usize {
        self.host.workers()
    }

    /// The process ids of the workers that exist at this moment, in the order of their numbers.
    ///
    /// They are fewer than [`workers`](Pool::workers) while a worker is being replaced, and while workers have left
    /// because they were idle ([`idle_timeout`](crate::PoolBuilder::idle_timeout)).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn pid() -> u32 { std::process::id() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let pid = pool.apply(pid::Task, ())?;
    /// assert!(pool.worker_pids().contains(&pid));
    /// # Ok(()) }
    /// ```
    pub fn worker_pids(&self) -> Vec<u32> {
        self.host.worker_pids()
    }

    /// Counts of the pool's jobs, items and workers so far.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn half(x: u64) -> u64 { assert!(x % 2 == 0); x / 2 }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// pool.map_results(half::Task, 0..10)?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.jobs_submitted, stats.items_succeeded, stats.items_failed), (1, 5, 5));
    /// # Ok(()) }
    /// ```
    pub fn stats(&self) -> Stats {
        self.host.stats()
    }

    /// Changes the number of workers, to between 1 and 4096.
    ///
    /// It returns at once. New workers are started in the background. Those too many finish the items that they run,
    /// and leave; the items that waited for them run elsewhere.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for 0 or more than 4096 workers; `Closed` if the pool was closed or terminated, `Broken` if its
    /// workers could not be started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// pool.resize(3)?;
    /// assert_eq!(pool.workers(), 3);
    /// assert_eq!(pool.map(square::Task, 0..3)?, [0, 1, 4]);
    /// assert_eq!(pool.resize(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok(()) }
    /// ```
    pub fn resize(&self, workers: usize) -> Result<()> {
        // In this order: a copy of the host gets the error that matters to it.
        self.host.check_owner()?;
        check_workers(workers)?;
        #[cfg(feature = "remote")]
        self.host.check_local("resize")?;
        self.host.resize(workers)
    }
}

/// Workers that a pool may have. Each takes one file descriptor in the host and one in the fork server, and up to 2 MiB of
/// shared memory if it has much to do.
pub(crate) const WORKERS_MAX: usize = 4096;

/// Checks a number of workers.
///
/// # Errors
///
/// `InvalidInput` for a number that no pool can have.
pub(crate) fn check_workers(workers: usize) -> Result<usize> {
    let text = match workers {
        0 => "a pool needs at least 1 worker, and 0 were asked for".to_owned(),
        1..=WORKERS_MAX => return Ok(workers),
        _ => format!("a pool has at most {WORKERS_MAX} workers, and {workers} were asked for"),
    };
    Err(Error::new(ErrorKind::InvalidInput, text))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("state", &self.state()).field("workers", &self.workers()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Pool>();
};
