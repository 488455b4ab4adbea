//! The events that the engine tells the observer, and the snapshot of both for users.

use std::time::Duration;

use pool_ipc::sys::monotonic_ns;

use super::Engine;
use crate::observe::exit::Exit;
use crate::observe::snapshot::{Current, Snapshot, WorkerSnapshot};
use crate::process::death::Death;
use crate::scheduler::{CurrentChunk, ExitReason, JobId, WorkerId};
use crate::units::{Nanos, nanos};

impl Engine {
    /// The process is gone, and the scheduler is about to learn of it.
    pub(super) fn observe_exit(&mut self, worker: WorkerId, death: &Death) {
        let partial = self.scheduler.answered_part(worker);
        let reason = self.scheduler.exit_reason(worker, death.status.success());
        // Counted here and not with the failure, since an item that is tried again has none.
        if let (ExitReason::TimedOut { .. }, Some(chunk)) = (reason, partial) {
            self.observer.timed_out(chunk.task);
        }
        // Counted when a process is asked for, so that of this one is one less.
        let incarnation = self.workers[worker].incarnations.saturating_sub(1);
        let exit = Exit { incarnation, at: monotonic_ns(), reason, death: death.clone() };
        self.observer.exited(worker, exit, partial, self.scheduler.heard(worker));
    }

    /// An item has cost its worker, and is not tried again.
    pub(super) fn observe_loss(&mut self, job: JobId, item: u64, ran: Option<Duration>) {
        let Some(record) = self.scheduler.record(job) else { return };
        let item = record.is_map().then_some(item);
        self.observer.lost(record.entry.index(), item, ran.map(nanos), self.scheduler.label(job));
    }

    /// An item is to be tried again.
    pub(super) fn observe_retry(&mut self, job: JobId, is_answered: bool) {
        if let Some(record) = self.scheduler.record(job) {
            self.observer.retried(record.entry.index(), is_answered);
        }
    }

    /// The counters, and the state of each worker.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        // Replies that are there count, as it does for a caller that waits.
        self.route_news();
        let now = monotonic_ns();
        let workers = self.scheduler.places().map(|worker| self.worker_snapshot(worker, now)).collect();
        Snapshot {
            now,
            pending: self.scheduler.unsettled(),
            memory_limit: self.memory_limit,
            workers,
            observer: self.observer.clone(),
        }
    }

    /// The state of each worker.
    pub(crate) fn running(&mut self) -> (Nanos, Vec<WorkerSnapshot>) {
        self.route_news();
        let now = monotonic_ns();
        (now, self.scheduler.places().map(|worker| self.worker_snapshot(worker, now)).collect())
    }

    fn worker_snapshot(&self, worker: WorkerId, now: Nanos) -> WorkerSnapshot {
        let handle = self.workers.get(worker);
        let lane = handle.and_then(|handle| handle.lane.as_ref());
        let marked = lane.filter(|lane| !lane.is_corrupt).and_then(|lane| lane.running());
        let is_starting = handle.is_some_and(|handle| handle.starting.is_some());
        // A worker's own word, which is not to be trusted further than this.
        let since = |since: Nanos, earliest: Nanos| if since > earliest && since <= now { since } else { earliest };
        let current = self.scheduler.at_work(worker).map(|chunk| {
            let CurrentChunk { first, settled, items, .. } = chunk;
            // The mark may be older than the chunk, or that of a chunk that a task has made up.
            let marked = marked.filter(|(begun, _)| begun.seq == chunk.seq && (settled..items).contains(&begun.item));
            Current {
                chunk,
                item: first + u64::from(marked.map_or(settled, |(begun, _)| begun.item)),
                since: marked.map_or(chunk.since, |(_, at)| since(at, chunk.since)),
            }
        });
        let heard = self.scheduler.heard(worker);
        WorkerSnapshot {
            worker,
            pid: lane.map(|lane| lane.pid),
            incarnation: handle.map_or(0, |handle| handle.incarnations.saturating_sub(1)),
            activity: self.scheduler.activity(worker),
            initializing_since: marked.filter(|_| is_starting).map(|(_, at)| since(at, heard)),
            heard,
            current,
        }
    }
}
