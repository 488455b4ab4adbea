//! Questions of people that look at the pool: the state of each worker, and why its process ended. Nothing here changes anything.

use super::Scheduler;
use super::interface::{Activity, CurrentChunk, EndedChunk, ExitReason, JobId, State, WorkerId};
use super::worker::{KillReason, Phase};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// The number of places for workers, those that the pool has given up included.
    pub(crate) fn places(&self) -> impl Iterator<Item = WorkerId> + use<P> {
        self.workers.ids()
    }

    /// The name that the caller gave the job.
    pub(crate) fn label(&self, job: JobId) -> Option<&'static str> {
        self.jobs.get(job)?.spec.label
    }

    /// The task of the job.
    pub(crate) fn task_of(&self, job: JobId) -> Option<u32> {
        Some(self.jobs.get(job)?.spec.task)
    }

    pub(crate) fn activity(&self, worker: WorkerId) -> Activity {
        let state = &self.workers[worker];
        match state.phase {
            Phase::Vacant | Phase::Resting => Activity::Absent,
            Phase::BackingOff(_) => Activity::BackingOff,
            Phase::Launching | Phase::Starting => Activity::Starting,
            Phase::Killed(_) => Activity::Ending,
            _ if state.in_flight.iter().any(|sent| !sent.is_settled()) => Activity::Working,
            Phase::Ready => Activity::Waiting,
            Phase::Leaving | Phase::Retiring => Activity::Leaving,
        }
    }

    /// When the worker last replied, became ready, or got work while it had none.
    pub(crate) fn heard(&self, worker: WorkerId) -> Nanos {
        self.workers[worker].heard
    }

    /// The chunk that the worker is at, if it has one that is not answered whole.
    pub(crate) fn at_work(&self, worker: WorkerId) -> Option<CurrentChunk> {
        let state = &self.workers[worker];
        // A chunk that was answered or taken back whole may stand before it.
        let sent = state.in_flight.iter().find(|sent| !sent.is_settled())?;
        let spec = self.jobs.get(sent.range.job)?.spec;
        let since = state.heard.max(sent.sent_at);
        let (first, settled, items) = (sent.range.first, sent.settled, sent.range.items);
        Some(CurrentChunk {
            job: sent.range.job,
            task: spec.task,
            label: spec.label,
            is_calls: spec.calls,
            seq: sent.seq,
            first,
            settled,
            items,
            since,
        })
    }

    /// The part of the worker's chunk that has been answered.
    pub(crate) fn answered_part(&self, worker: WorkerId) -> Option<EndedChunk> {
        let CurrentChunk { job, task, label, is_calls, first, settled, .. } = self.at_work(worker)?;
        Some(EndedChunk { job, task, label, is_calls, first, items: settled })
    }

    /// Why the worker's process, which is gone, has ended; `is_clean` says that its exit code was 0. To be asked before
    /// [`exited`](Scheduler::exited).
    pub(crate) fn exit_reason(&self, worker: WorkerId, is_clean: bool) -> ExitReason {
        let state = &self.workers[worker];
        match state.phase {
            Phase::Killed(KillReason::Timeout { limit, ran, .. }) => ExitReason::TimedOut { limit, ran },
            Phase::Killed(KillReason::Cancelled { .. } | KillReason::ItemCancelled { .. }) => ExitReason::Cancelled,
            Phase::Killed(KillReason::Protocol | KillReason::UnsolicitedReply) => ExitReason::Corrupt,
            Phase::Killed(KillReason::FailedStart) => ExitReason::NotReady,
            Phase::Killed(KillReason::Unresponsive) => ExitReason::Unresponsive,
            Phase::Killed(KillReason::Stayed { limit, ran }) => ExitReason::Stayed { limit, ran },
            Phase::Killed(KillReason::Unwanted) => ExitReason::Terminated,
            // It was told to leave, and died of the last item that it still ran.
            _ if !is_clean => ExitReason::Died,
            Phase::Retiring => ExitReason::Idle,
            Phase::Leaving if worker.index() >= self.config.workers => ExitReason::Resized,
            Phase::Leaving if self.config.max_tasks_per_worker.is_some_and(|max| state.served >= max) => {
                ExitReason::ShareDone
            }
            Phase::Leaving if self.state != State::Open && !self.has_work() => ExitReason::Closed,
            // The one reason left for which a worker of an open pool is told to leave.
            Phase::Leaving => ExitReason::Grown,
            _ => ExitReason::Died,
        }
    }
}
