//! The events that the engine tells the observer, and the snapshot of both for users.

use pool_ipc::sys::monotonic_ns;

use super::Engine;
use crate::observe::exit::Exit;
use crate::observe::log::{Process, Record};
use crate::observe::snapshot::{Current, Snapshot, WorkerSnapshot};
use crate::process::death::Death;
use crate::scheduler::{CurrentChunk, ExitReason, WorkerId};
use crate::units::Nanos;

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
        if self.is_logged() {
            // Its lane is gone by now, so the note of its death has the number.
            let process = Process { worker: worker.0, incarnation, pid: death.pid };
            let since = death.since.unwrap_or(0);
            let chunk = self.scheduler.at_work(worker);
            let chunk = chunk.map(|chunk| CurrentChunk { since: chunk.since.max(since), ..chunk });
            self.observer.logs.push(&Record::Exited { process, exit: Box::new(exit.clone()), chunk });
        }
        // A mark that is older is that of an earlier chunk.
        let since = self.scheduler.heard(worker).max(death.since.unwrap_or(0));
        self.observer.exited(worker, exit, partial, since);
    }

    /// Other machines cannot run items for this reason, or can again.
    #[cfg(feature = "remote")]
    pub(crate) fn note_hindrance(&mut self, hindrance: Option<String>) {
        self.observer.note_hindrance(hindrance);
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
            in_process: self.in_process,
            is_remote: self.is_remote(),
            workers,
            observer: self.observer.copy(),
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
        let is_starting = handle.is_some_and(|handle| handle.is_starting());
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
