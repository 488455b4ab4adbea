//! Events as listeners get them, made of records.

use std::fmt;
use std::time::Duration;

use super::exit::ExitCause;
use super::log::{Items, Process, Record};
use crate::error::ErrorKind;
use crate::task::table::TASKS;
use crate::worker::position::Worker;

/// Something that has happened in a pool; for [`PoolBuilder::on_event`](crate::PoolBuilder::on_event).
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use pool_core::prelude::*;
/// use pool_core::Event;
///
/// #[pool_task]
/// fn abort() { std::process::abort() }
///
/// # fn main() -> pool_core::Result<()> {
/// let (ends, seen) = mpsc::channel();
/// let pool = Pool::builder()
///     .workers(1)
///     .on_event(move |event| {
///         if let Event::WorkerExited { cause, .. } = event {
///             let _ = ends.send(cause.to_string());
///         }
///     })
///     .build()?;
/// pool.apply(abort::Task, ()).unwrap_err();
/// assert_eq!(seen.recv().unwrap(), "killed by signal 6 (SIGABRT)");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A worker has a process.
    #[non_exhaustive]
    WorkerStarted {
        /// The worker.
        worker: Worker,
    },
    /// The process of a worker is gone.
    #[non_exhaustive]
    WorkerExited {
        /// The worker.
        worker: Worker,
        /// Why it ended.
        cause: ExitCause,
    },
    /// The [finalizer](crate::PoolBuilder::finalizer) of a worker has failed, or has cost it; or a state's destructor has panicked after
    /// it.
    #[non_exhaustive]
    FinalizerFailed {
        /// The worker.
        worker: Worker,
        /// The error, with the name of the finalizer or of the state's type.
        error: String,
    },
    /// Other machines cannot run the items that wait, for this reason; `None`: now they can. Only of a pool with a
    /// [backend](crate::PoolBuilder::backend).
    #[cfg(feature = "remote")]
    #[non_exhaustive]
    Hindered {
        /// The reason, such as "there is no agent".
        why: Option<String>,
    },
    /// A call or a map was submitted.
    #[non_exhaustive]
    JobSubmitted {
        /// The job.
        job: JobKey,
        /// Its task, `module::function`.
        task: String,
        /// Its [label](crate::Task::label).
        label: Option<&'static str>,
    },
    /// A job has ended, well or not.
    #[non_exhaustive]
    JobFinished {
        /// The job.
        job: JobKey,
        /// Its task, `module::function`.
        task: String,
    },
    /// An item has failed, and is not tried again.
    #[non_exhaustive]
    ItemFailed {
        /// The job.
        job: JobKey,
        /// Its task, `module::function`.
        task: String,
        /// The index of the item in its map; `None` for a call.
        item: Option<usize>,
        /// The worker that ran it, if one did.
        worker: Option<Worker>,
        /// The kind of its error.
        kind: ErrorKind,
    },
    /// An item has cost its worker, or panicked, and will be tried again.
    #[non_exhaustive]
    ItemRetried {
        /// The job.
        job: JobKey,
        /// Its task, `module::function`.
        task: String,
        /// The index of the item in its map; `None` for a call.
        item: Option<usize>,
        /// The worker that ran it.
        worker: Worker,
    },
    /// A worker has ended a chunk: consecutive items of one job.
    #[non_exhaustive]
    ChunkDone {
        /// The task, `module::function`.
        task: String,
        /// The [label](crate::Task::label) of the job.
        label: Option<&'static str>,
        /// The worker.
        worker: Worker,
        /// The index of the first item in its map; `None` for calls.
        first: Option<usize>,
        /// Number of items.
        items: usize,
        /// The time that they took together.
        ran: Duration,
    },
    /// The listener was too slow, and so many events, which would have come here, were dropped.
    #[non_exhaustive]
    Dropped {
        /// The number of dropped events.
        events: u64,
    },
}

/// Names a job among those of its pool, in [events](Event). Two jobs that are there at the same time have different keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    job: u64,
    call: u64,
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobKey({:x}.{})", self.job, self.call)
    }
}

impl Items {
    fn key(&self) -> JobKey {
        JobKey { job: self.job.number(), call: if self.is_calls { self.first } else { 0 } }
    }

    /// The task's path.
    pub(super) fn path(&self) -> String {
        TASKS[self.task as usize].path()
    }

    /// The index of the first item in its map; `None` for calls.
    pub(super) fn index(&self) -> Option<usize> {
        (!self.is_calls).then_some(self.first as usize)
    }
}

impl Process {
    fn worker(self) -> Worker {
        // As in the details of a result, so that both can be compared.
        Worker::of_process(self.worker as usize, self.incarnation, self.pid)
    }
}

impl Event {
    /// The event of a record, if listeners get one. `memory_limit` is that of the pool's workers.
    pub(crate) fn of(record: Record, memory_limit: Option<u64>) -> Option<Event> {
        Some(match record {
            Record::Started { process, .. } => Event::WorkerStarted { worker: process.worker() },
            Record::Exited { process, exit, .. } => {
                Event::WorkerExited { worker: process.worker(), cause: exit.cause(memory_limit) }
            }
            Record::NotFinalized { process, why, .. } => {
                Event::FinalizerFailed { worker: process.worker(), error: why.into() }
            }
            #[cfg(feature = "remote")]
            Record::Hindered { why } => Event::Hindered { why: why.map(Into::into) },
            Record::Submitted(items) => {
                Event::JobSubmitted { job: items.key(), task: items.path(), label: items.label }
            }
            Record::Finished(items) => Event::JobFinished { job: items.key(), task: items.path() },
            Record::Failed { items, process, kind, .. } => Event::ItemFailed {
                job: items.key(),
                task: items.path(),
                item: items.index(),
                worker: process.map(Process::worker),
                kind,
            },
            Record::Retried { items, process, .. } => Event::ItemRetried {
                job: items.key(),
                task: items.path(),
                item: items.index(),
                worker: process.worker(),
            },
            Record::Chunk { items, process, ran, .. } => Event::ChunkDone {
                task: items.path(),
                label: items.label,
                worker: process.worker(),
                first: items.index(),
                items: items.count as usize,
                ran: Duration::from_nanos(ran),
            },
            // Of use in a timeline only.
            Record::Ready { .. } | Record::Item { .. } => return None,
        })
    }
}
