//! Observing: counters of tasks and workers, which the engine keeps under the lock, and the view of them that users get.
//!
//! Counting is a few additions for each chunk, and reads no clock: the times are those by which the pool sizes its chunks.
//! Text is made, and the system asked, in the thread that wants to know, without the lock.

pub(crate) mod event;
pub(crate) mod exit;
#[cfg(feature = "tracing")]
pub(crate) mod forwarded;
pub(crate) mod insights;
pub(crate) mod later;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod snapshot;
pub(crate) mod splitter;

mod histogram;
mod table;
mod task_record;
pub(crate) mod trace;
mod worker_record;

use self::exit::Exit;
use self::log::Logs;
#[cfg(feature = "remote")]
use self::log::Record;
use self::task_record::TaskRecord;
use self::worker_record::WorkerRecord;
use crate::error::ErrorKind;
use crate::scheduler::{ByWorker, EndedChunk, WorkerId};
use crate::units::Nanos;

/// The counters of a pool.
#[derive(Debug)]
pub(crate) struct Observer {
    /// When the pool was made.
    begun_at: Nanos,
    /// By the task's index; a task has a record from its first chunk or failure on.
    tasks: Vec<Option<Box<TaskRecord>>>,
    workers: ByWorker<WorkerRecord>,
    pub(crate) logs: Logs,
    finalizer_failures: u64,
    last_finalizer_failure: Option<String>,
    /// Why the trace ended before the pool.
    pub(crate) trace_end: Option<String>,
    /// Why items wait for other machines.
    hindrance: Option<String>,
}

impl Observer {
    pub(crate) fn new(now: Nanos) -> Self {
        Observer {
            begun_at: now,
            tasks: Vec::new(),
            workers: ByWorker::default(),
            logs: Logs::default(),
            finalizer_failures: 0,
            last_finalizer_failure: None,
            trace_end: None,
            hindrance: None,
        }
    }

    /// The counters alone.
    pub(crate) fn copy(&self) -> Self {
        Observer {
            begun_at: self.begun_at,
            tasks: self.tasks.clone(),
            workers: self.workers.clone(),
            logs: Logs::default(),
            finalizer_failures: self.finalizer_failures,
            last_finalizer_failure: self.last_finalizer_failure.clone(),
            trace_end: self.trace_end.clone(),
            hindrance: self.hindrance.clone(),
        }
    }

    /// Other machines cannot run items for this reason, or can again.
    #[cfg(feature = "remote")]
    pub(crate) fn note_hindrance(&mut self, hindrance: Option<String>) {
        if !self.logs.is_empty() {
            self.logs.push(&Record::Hindered { why: hindrance.as_deref().map(Into::into) });
        }
        self.hindrance = hindrance;
    }

    /// When the pool was made.
    pub(crate) fn begun_at(&self) -> Nanos {
        self.begun_at
    }

    /// When the worker's process was asked for.
    pub(crate) fn asked_at(&self, worker: WorkerId) -> Nanos {
        self.workers.get(worker).map_or(0, WorkerRecord::asked_at)
    }

    /// The time that items of the task have lately taken at least; 0 if none is known.
    #[inline]
    pub(crate) fn last_time(&self, task: u32) -> Nanos {
        self.tasks.get(task as usize).and_then(Option::as_ref).map_or(0, |record| {
            // The shorter of two: a chunk that waited for a CPU says nothing of its items.
            record.last[0].min(record.last[1])
        })
    }

    /// A process is asked for.
    pub(crate) fn launch_asked(&mut self, worker: WorkerId, now: Nanos) {
        self.worker(worker).launch_asked(now);
    }

    /// The process has passed its initializer, which took so long.
    pub(crate) fn ready(&mut self, worker: WorkerId, initializing: Nanos, now: Nanos) {
        self.worker(worker).ready(initializing, now);
    }

    /// The finalizer of a process has failed.
    pub(crate) fn not_finalized(&mut self, why: String) {
        self.finalizer_failures += 1;
        self.last_finalizer_failure = Some(why);
    }

    /// The process is gone. `partial` is the chunk that it was at since `since`, as far as that was answered.
    pub(crate) fn exited(&mut self, worker: WorkerId, exit: Exit, partial: Option<EndedChunk>, since: Nanos) {
        if let Some(chunk) = partial {
            self.task(chunk.task).items += u64::from(chunk.items);
            self.worker(worker).items += u64::from(chunk.items);
        }
        // Without a chunk it has waited.
        let spent = partial.map(|_| exit.at.saturating_sub(since));
        self.worker(worker).exited(exit, spent);
    }

    /// The worker has ended a chunk, in which `errs` values were `Err`.
    #[inline]
    pub(crate) fn chunk_ended(&mut self, worker: WorkerId, chunk: EndedChunk, elapsed: Nanos, errs: u32) {
        self.worker(worker).chunk_ended(chunk.items, elapsed);
        self.task(chunk.task).chunk_ended(chunk, elapsed, errs);
    }

    /// Items have failed.
    pub(crate) fn failed(&mut self, task: u32, kind: ErrorKind, items: u32) {
        self.task(task).failures[kind as usize] += u64::from(items);
    }

    /// An item has cost its worker, and is not tried again.
    pub(crate) fn lost(&mut self, task: u32, item: Option<u64>, ran: Option<Nanos>, label: Option<&'static str>) {
        self.task(task).lost(item, ran, label);
    }

    /// An item is to be tried again. It was `answered` if its worker lives.
    pub(crate) fn retried(&mut self, task: u32, answered: bool) {
        let record = self.task(task);
        record.retries += 1;
        record.answered_retries += u64::from(answered);
    }

    /// An item has run into its time limit.
    pub(crate) fn timed_out(&mut self, task: u32) {
        self.task(task).time_outs += 1;
    }

    #[inline]
    fn task(&mut self, task: u32) -> &mut TaskRecord {
        let task = task as usize;
        if task >= self.tasks.len() {
            self.tasks.resize(task + 1, None);
        }
        // Some kilobytes, so only tasks that run have one.
        self.tasks[task].get_or_insert_default()
    }

    #[inline]
    fn worker(&mut self, worker: WorkerId) -> &mut WorkerRecord {
        if self.workers.get(worker).is_none() {
            self.workers.grow(worker.index() + 1, WorkerRecord::default);
        }
        &mut self.workers[worker]
    }
}
