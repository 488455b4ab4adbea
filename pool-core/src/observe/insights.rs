//! The view that users get of a pool: its workers, its tasks, and the items that run.

use std::time::Duration;

use serde::Serialize;

use super::exit::ExitCause;
use crate::error::ErrorKind;
#[cfg(feature = "remote")]
use crate::wire::HostInsights;
use crate::worker_state::WorkerState;

/// The workers and tasks of a pool at one moment; from [`Pool::insights`](crate::Pool::insights).
///
/// Its text is a table for people. With serde's `Serialize` it is for programs.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn root(x: f64) -> Result<f64, String> { if x < 0.0 { Err("negative".into()) } else { Ok(x.sqrt()) } }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// pool.map(root::Task, [4.0, -1.0, 9.0])?;
/// let insights = pool.insights();
/// assert_eq!(insights.workers.len(), 2);
/// let root = &insights.tasks[0];
/// assert_eq!((root.items, root.errs), (3, 1));
/// assert!(root.p50 <= root.max);
/// println!("{insights}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Insights {
    /// The age of the pool.
    pub uptime: Duration,
    /// Items accepted and not settled.
    pub pending: u64,
    /// The workers are threads of this process, as [`in_process`](crate::PoolBuilder::in_process) asks for: nothing is isolated.
    pub in_process: bool,
    /// Items run on other machines, see [`backend`](crate::PoolBuilder::backend): workers are the threads that wait for them.
    #[cfg(feature = "remote")]
    pub is_remote: bool,
    /// Why items wait, if other machines cannot run them at this moment, such as "there is no agent".
    #[cfg(feature = "remote")]
    pub hindrance: Option<String>,
    /// The machines on which items run, if the backend tells them. By name, and by process.
    #[cfg(feature = "remote")]
    pub hosts: Vec<HostInsights>,
    /// All workers, by their numbers; those that a [resize](crate::Pool::resize) has taken away are absent.
    pub workers: Vec<WorkerInsights>,
    /// The tasks that workers have run, by their names. Two functions of one name are two entries.
    pub tasks: Vec<TaskInsights>,
    /// How many [finalizers](crate::PoolBuilder::finalizer) have failed, or have cost their workers, and how many workers that left had a
    /// state whose destructor panicked.
    pub finalizer_failures: u64,
    /// The error of the last of these, with the name of the finalizer or of the state's type.
    pub last_finalizer_failure: Option<String>,
    /// Why the [trace](crate::PoolBuilder::trace) has ended before the pool, if it has.
    pub trace_end: Option<String>,
}

impl Insights {
    /// Those of no pool.
    pub(crate) fn nothing() -> Self {
        Insights {
            uptime: Duration::ZERO,
            pending: 0,
            in_process: false,
            #[cfg(feature = "remote")]
            is_remote: false,
            #[cfg(feature = "remote")]
            hindrance: None,
            #[cfg(feature = "remote")]
            hosts: Vec::new(),
            workers: Vec::new(),
            tasks: Vec::new(),
            finalizer_failures: 0,
            last_finalizer_failure: None,
            trace_end: None,
        }
    }
}

/// A worker at one moment, and the sums over all processes that it has had.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerInsights {
    /// Its number in the pool.
    pub worker: usize,
    /// Its process, if it has one; of a worker that is a thread, the number of the thread.
    pub pid: Option<u32>,
    /// The number of processes that it had before.
    pub incarnation: u32,
    /// Its state.
    pub state: WorkerState,
    /// How long it has been in this state; while it works, how long it has been at its item, see [`Running::since`].
    pub since: Duration,
    /// The task that it runs, `module::function`.
    pub task: Option<String>,
    /// The [label](crate::Task::label) of the job that it works for.
    pub label: Option<&'static str>,
    /// The index of the item that it runs, if that is an item of a map.
    pub item: Option<usize>,
    /// Chunks that it has ended: items of a job travel to a worker in chunks.
    pub chunks: u64,
    /// Items that it has answered, with a value or an error.
    pub items: u64,
    /// Time until its processes began their initializers.
    pub starting: Duration,
    /// Time in initializers.
    pub initializing: Duration,
    /// Time at items.
    pub working: Duration,
    /// Time with nothing to do.
    pub waiting: Duration,
    /// The memory that its process has in RAM, including memory that it shares with others. `None` for a worker that is a thread.
    pub rss_bytes: Option<u64>,
    /// How many of its processes have ended.
    pub exit_count: u64,
    /// The last eight of these ends, the oldest first.
    pub exits: Vec<WorkerExit>,
}

/// The end of one process of a worker.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerExit {
    /// Its process id.
    pub pid: u32,
    /// The number of processes that the worker had before.
    pub incarnation: u32,
    /// How long ago that was.
    pub ago: Duration,
    /// Why it ended.
    pub cause: ExitCause,
}

/// The counts and times of one task in a pool.
///
/// The times are measured in the workers, and include the decoding of arguments and the encoding of results. Short items
/// travel in chunks, and the worker reads the clock once for a chunk, so the time of such an item is the mean of its
/// chunk: [`averaged`](TaskInsights::averaged) says how many these are.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TaskInsights {
    /// The task, `module::function`.
    pub task: String,
    /// Items that workers have run to their end, or died of. An item that is tried again counts when that has ended.
    pub items: u64,
    /// Items that have failed, by the kind of their errors. Values that could not be decoded in the host are not among them.
    pub failures: Vec<(ErrorKind, u64)>,
    /// Values that were `Err`, of a task that returns a `Result`. Those of a chunk that a worker has died of are not counted.
    pub errs: u64,
    /// How often an item was to be tried again.
    pub retries: u64,
    /// How often a worker was killed because its item had exceeded its time limit.
    pub time_outs: u64,
    /// The time that half of the items did not exceed, rounded up by at most an eighth. `None` if no time is known.
    pub p50: Option<Duration>,
    /// Likewise of 99 in 100 items.
    pub p99: Option<Duration>,
    /// The longest time.
    pub max: Option<Duration>,
    /// Items that have the mean of their chunk as their time.
    pub averaged: u64,
    /// The five longest times, the longest first.
    pub slowest: Vec<SlowItem>,
}

impl TaskInsights {
    /// Items that have failed, of all kinds.
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, items)| items).sum()
    }
}

/// An item that took long, or a chunk of items that did on average.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowItem {
    /// The index of the item in its map, or of the first item of the chunk; `None` for calls.
    pub item: Option<usize>,
    /// 1, or the number of items of which the time is the mean.
    pub items: usize,
    /// The time.
    pub time: Duration,
    /// The [label](crate::Task::label) of its job.
    pub label: Option<&'static str>,
}

/// An item that a worker runs; from [`Pool::running`](crate::Pool::running).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Running {
    /// The number of the worker in the pool.
    pub worker: usize,
    /// Its process.
    pub pid: u32,
    /// The task, `module::function`.
    pub task: String,
    /// The [label](crate::Task::label) of the job.
    pub label: Option<&'static str>,
    /// The index of the item in its map; `None` for a call.
    pub item: Option<usize>,
    /// How long the worker has been at it. Of short items that travel together, and have no time limit: how long it has been
    /// at these.
    pub since: Duration,
}
