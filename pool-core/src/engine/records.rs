//! Records for the threads that pass on events and write the trace. Where neither is asked for, each is one look at an empty
//! list.

use std::time::Duration;

use pool_ipc::sys::monotonic_ns;

use super::Engine;
use crate::error::ErrorKind;
use crate::lane::messages::ItemTimes;
use crate::observe::log::{Batch, Items, Process, Reader, Record};
use crate::scheduler::{EndedChunk, JobId, JobSpec, WorkerId};
use crate::units::Nanos;

/// An item is timed on its own for the trace if the items of its task took so long lately. The cost of that, some hundred
/// nanoseconds, is then a few percent.
const TIMED_FROM_NS: Nanos = 20_000;

impl Engine {
    /// Has records kept for this reader.
    pub(crate) fn open_log(&mut self, reader: Reader) {
        self.observer.logs.open(reader);
    }

    /// The trace has ended before the pool.
    pub(crate) fn close_log(&mut self, reader: Reader, why: String) {
        // Records for a reader that is gone would cost time and come to nothing.
        self.observer.logs.close(reader);
        self.observer.trace_end = Some(why);
    }

    /// When the pool was made.
    pub(crate) fn begun_at(&self) -> Nanos {
        self.observer.begun_at()
    }

    /// Takes the reader's records, in exchange for memory.
    pub(crate) fn take_log(&mut self, reader: Reader, memory: Vec<Record>) -> Batch {
        self.observer.logs.take(reader, memory)
    }

    /// Bytes of memory that a worker may use.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.memory_limit
    }

    #[inline]
    pub(super) fn is_logged(&self) -> bool {
        !self.observer.logs.is_empty()
    }

    /// Whether the trace wants to know when each item of the task begins.
    #[inline]
    pub(super) fn wants_item_times(&self, task: u32) -> bool {
        self.is_logged() && self.observer.logs.has(Reader::Trace) && self.observer.last_time(task) >= TIMED_FROM_NS
    }

    /// The process that the worker has.
    pub(super) fn process(&self, worker: WorkerId) -> Process {
        let handle = &self.workers[worker];
        Process {
            worker: worker.0,
            // Counted when a process is asked for, so that of this one is one less.
            incarnation: handle.incarnations.saturating_sub(1),
            pid: handle.lane.as_ref().map_or(0, |lane| lane.pid),
        }
    }

    fn items(&self, job: JobId, first: u64, count: u32) -> Option<Items> {
        let record = self.scheduler.record(job)?;
        let (task, is_calls) = (record.entry.index(), !record.is_map());
        Some(Items { job, task, label: self.scheduler.label(job), is_calls, first, count })
    }

    #[cold]
    pub(super) fn log_submitted(&mut self, job: JobId, call: Option<u64>, spec: JobSpec) {
        let (is_calls, first) = (call.is_some(), call.unwrap_or(0));
        let items = Items { job, task: spec.task, label: spec.label, is_calls, first, count: 0 };
        self.observer.logs.push(&Record::Submitted(items));
    }

    #[cold]
    pub(super) fn log_finished(&mut self, job: JobId, call: u64) {
        if let Some(items) = self.items(job, call, 0) {
            self.observer.logs.push(&Record::Finished(items));
        }
    }

    #[cold]
    pub(super) fn log_failed(&mut self, job: JobId, item: u64, worker: Option<WorkerId>, kind: ErrorKind) {
        if let Some(items) = self.items(job, item, 1) {
            // The process of a worker that died of it is no longer known here; its end is a record of its own.
            let process = worker.map(|worker| self.process(worker)).filter(|process| process.pid > 0);
            self.observer.logs.push(&Record::Failed { items, process, kind, at: monotonic_ns() });
        }
    }

    #[cold]
    pub(super) fn log_retried(&mut self, job: JobId, item: u64, process: Process) {
        if let Some(items) = self.items(job, item, 1) {
            self.observer.logs.push(&Record::Retried { items, process, at: monotonic_ns() });
        }
    }

    /// The worker has ended a chunk at `ended`, in units of [`reply::ended`](crate::lane::messages::reply::ended).
    #[cold]
    pub(super) fn log_chunk(&mut self, worker: WorkerId, chunk: EndedChunk, ran: Nanos, ended: u32) {
        let EndedChunk { job, task, label, is_calls, first, items: count } = chunk;
        let items = Items { job, task, label, is_calls, first, count };
        // The engine's own time may be older than the end of the chunk.
        let now = monotonic_ns();
        let ran = ran.min(now);
        let begun = crate::lane::messages::reply::ended_at(ended, now).saturating_sub(ran);
        let process = self.process(worker);
        self.observer.logs.push(&Record::Chunk { items, process, begun, ran });
    }

    #[cold]
    pub(super) fn log_item(&mut self, worker: WorkerId, job: JobId, item: u64, times: ItemTimes) {
        // The worker's word: a time to come would be drawn far outside.
        let now = monotonic_ns();
        let begun = times.begun_ns.min(now);
        if let Some(items) = self.items(job, item, 1) {
            let (process, ran) = (self.process(worker), times.ran_ns.min(now - begun));
            self.observer.logs.push(&Record::Item { items, process, begun, ran });
        }
    }

    /// An item is to be tried again.
    pub(super) fn observe_retry(&mut self, worker: WorkerId, job: JobId, item: u64, process: Option<Process>) {
        let Some(record) = self.scheduler.record(job) else { return };
        // With a process it has cost that one; else its worker lives and has answered.
        self.observer.retried(record.entry.index(), process.is_none());
        if self.is_logged() {
            let process = process.unwrap_or_else(|| self.process(worker));
            self.log_retried(job, item, process);
        }
    }

    /// An item has cost its worker, and is not tried again.
    pub(super) fn observe_loss(&mut self, job: JobId, item: u64, ran: Option<Duration>) {
        let Some(record) = self.scheduler.record(job) else { return };
        let item = record.is_map().then_some(item);
        self.observer.lost(record.entry.index(), item, ran.map(crate::units::nanos), self.scheduler.label(job));
    }
}
