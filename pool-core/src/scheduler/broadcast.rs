//! Broadcasts: a job with one item for each worker of a moment.
//!
//! Such an item is *pinned*: it goes to its worker past the queues of all flows, behind the chunks that the worker has, and
//! waits for that worker alone while it starts. No other process ever runs it: if the worker ends before, the item fails.

use super::Scheduler;
use super::interface::{Action, FailureCause, JobId, JobSpec, Wake, WorkerId};
use super::tuning::QUANTUM_NS;
use super::worker::{Phase, Range, SentChunk};

impl<P> Scheduler<P> {
    /// A job of one item for each worker that takes items or is about to start; `record` is told how many. Workers that
    /// rest or are about to leave have no part in it. The pool must be open.
    pub(crate) fn broadcast(&mut self, spec: JobSpec, record: impl FnOnce(JobId, u32) -> P) -> JobId {
        let takes_part =
            |phase| matches!(phase, Phase::Launching | Phase::BackingOff(_) | Phase::Starting | Phase::Ready);
        let ids = self.workers.ids().take(self.config.workers);
        let workers: Vec<_> = ids.filter(|worker| takes_part(self.workers[*worker].phase)).collect();
        // Counted first: the record has arguments and a place for each.
        let items = workers.len() as u32;
        // Once: an item that was begun must not be said to have waited in vain, whatever its worker died of.
        let spec = JobSpec { pinned: true, once: true, retries: 0, max_concurrent: None, ..spec };
        let id = self.submit(spec, |id| record(id, items));
        let job = self.jobs.get_mut(id).expect("it has just been made");
        (job.end, job.unsettled, job.queued) = (items.into(), items.into(), items.into());
        self.unsettled += u64::from(items);
        for (first, worker) in (0..).zip(&workers) {
            self.workers[*worker].pinned.push_back(Range { job: id, first, items: 1 });
        }
        // Only when all wait: an item that is sent must find the books of its job complete.
        workers.into_iter().for_each(|worker| self.send_pinned(worker));
        // Last: a job without items ends with this.
        self.seal(id);
        id
    }

    /// Sends the worker the items that wait for it, if it takes any.
    pub(super) fn send_pinned(&mut self, worker: WorkerId) {
        // As with other items: an initializer may still fail, and then they are not said to have been sent.
        if self.workers[worker].pinned.is_empty() || !self.is_sure_to_run(worker) || self.holds_back {
            return;
        }
        for range in std::mem::take(&mut self.workers[worker].pinned) {
            let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { continue };
            let JobSpec { priority, task, .. } = job.spec;
            job.queued -= 1;
            job.in_flight += 1;
            job.flow.as_mut().expect("it is no call").in_flight += 1;
            self.in_flight[priority as usize] += 1;
            let task = &mut self.tasks[task as usize];
            task.occupied += 1;
            let time = task.pace.time(1).unwrap_or(QUANTUM_NS);
            let state = &mut self.workers[worker];
            let seq = state.next_seq;
            state.next_seq = seq.next();
            state.ahead = state.ahead.saturating_add(time);
            // Under a recall from the start, so it is never taken back for the sake of other workers, which may not run it.
            let (settled, recalling, was_recalled, occupies) = (0, true, false, true);
            let (charged, sent_at) = (None, self.now);
            let sent = SentChunk { seq, range, settled, recalling, was_recalled, occupies, time, charged, sent_at };
            self.append_chunk(worker, sent);
            let Range { job, first, items } = range;
            let (attempt, wake, brief, claim) = (1, Wake::Anyone, false, 1);
            self.actions.push_back(Action::Send { worker, seq, job, first, items, attempt, wake, brief, claim });
        }
    }

    /// A planted fault: items of broadcasts go to any worker.
    #[cfg(test)]
    pub(super) fn forget_pins(&mut self) {
        for id in self.jobs.ids() {
            self.jobs.get_mut(id).expect("its id was listed").spec.pinned = false;
        }
    }

    /// A planted fault: items that were sent to the worker wait for it once more.
    #[cfg(test)]
    pub(super) fn pin_again(&mut self, worker: WorkerId) {
        let sent: Vec<_> = self.workers[worker].in_flight.iter().map(|sent| sent.range).collect();
        for range in sent {
            if self.is_pinned(range.job) {
                self.repin(worker, range);
            }
        }
    }

    /// Whether the items are for one worker each.
    pub(super) fn is_pinned(&self, id: JobId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.spec.pinned)
    }

    /// All items are being cancelled that have not begun: those that were sent to the worker are taken back, too.
    pub(super) fn recall_pinned(&mut self, worker: WorkerId) {
        for sent in &mut self.workers[worker].in_flight {
            if self.jobs.get(sent.range.job).is_some_and(|job| job.spec.pinned) && !sent.is_settled() {
                self.actions.push_back(sent.ask_back(worker, false));
            }
        }
    }

    /// A pinned item that was sent and has been taken back waits for its worker again.
    pub(super) fn repin(&mut self, worker: WorkerId, range: Range) {
        let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { return };
        job.queued += u64::from(range.items);
        // In front, where it was before those that came later.
        self.workers[worker].pinned.push_front(range);
    }

    /// No process of now will run the items that wait for this worker.
    pub(super) fn unpin(&mut self, worker: WorkerId) {
        for range in std::mem::take(&mut self.workers[worker].pinned) {
            if let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) {
                job.queued -= 1;
                self.fail_unrun(Some(worker), range);
            }
        }
    }

    /// The items, which are in no place any more, were for a worker that does not run them.
    pub(super) fn fail_unrun(&mut self, worker: Option<WorkerId>, range: Range) {
        if self.record(range.job).is_none() {
            return;
        }
        let (job, cause) = (range.job, FailureCause::NotRun);
        let fail = (range.first..range.end()).map(|item| Action::Fail { worker, job, item, cause });
        self.actions.extend(fail);
    }
}
