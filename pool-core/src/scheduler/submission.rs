//! The events that come from callers: jobs and items, cancelling, closing, resizing.

use super::Scheduler;
use super::flow::{FlowId, Turns};
use super::interface::{Action, FailureCause, JobId, JobSpec, State};
use super::job::JobEntry;
use super::task::TaskState;
use super::tuning::NARROW_WORKERS;
use super::worker::{KillReason, Phase, Range, WorkerState};

impl<P> Scheduler<P> {
    /// Opens a job without items; they come by [`Scheduler::add_items`] until it is [sealed](Scheduler::seal). The pool must
    /// be open.
    pub(crate) fn submit(&mut self, spec: JobSpec, record: impl FnOnce(JobId) -> P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        // Counted apart from the items, since a closed pool waits for inputs that are still being pulled.
        self.open_jobs += 1;
        self.jobs.insert(|id| JobEntry::new(spec, record(id)))
    }

    /// Adds items to an open job; false if it has ended.
    pub(crate) fn add_items(&mut self, id: JobId, first: u64, items: u32) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.open) else { return false };
        if items > 0 {
            // With its first items only: later ones find it under way.
            if job.end == 0 && self.config.workers > NARROW_WORKERS {
                job.begun_at = Some(self.now);
            }
            job.fed_at = self.now;
            job.end = first + u64::from(items);
            job.unsettled += u64::from(items);
            job.queued += u64::from(items);
            self.unsettled += u64::from(items);
            let priority = job.spec.priority;
            let flow = job.flow.as_deref_mut().expect("a map is a flow of its own");
            flow.queue.push_back(Range { job: id, first, items });
            // Queued first: the turn of a flow begins with its first item.
            self.note_queued(FlowId::Job(id), priority);
            self.dispatch();
        }
        true
    }

    /// From now on each chunk of the job wakes the host at its end, since a future waits for it, which cannot look by
    /// itself.
    #[cfg(feature = "stream")]
    pub(crate) fn announce(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(id) {
            // Chunks that were sent before keep their way of waking; the timer of the stream looks for them.
            job.spec.urgent = true;
        }
    }

    /// Whether items of the job are accepted and not settled.
    pub(crate) fn has_unsettled(&self, id: JobId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.unsettled > 0)
    }

    /// No more items will come.
    pub(crate) fn seal(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.open) else { return };
        job.open = false;
        self.open_jobs -= 1;
        self.finish_if_done(id);
        self.wind_down();
    }

    /// Ends a job early: queued items are dropped, sent items that have not begun are taken back. Running items are killed
    /// if `running` is set, else they end and their values are dropped. False if the job had ended.
    pub(crate) fn cancel(&mut self, id: JobId, running: bool) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return false };
        // Noted first: `kill_if_cancelled` below asks the entry, which outlives the job's end.
        job.kills_running = running;
        if running && job.spec.grace > 0 {
            // Before the job ends, and with it its reports: an item that learns that nobody listens knows why then.
            self.workers.ids().for_each(|worker| self.kill_if_cancelled(worker));
        }
        self.abandon(id, FailureCause::Cancelled);
        for worker in self.workers.ids() {
            let sent = self.workers[worker].in_flight.iter_mut().filter(|sent| sent.range.job == id);
            for sent in sent {
                self.actions.push_back(sent.ask_back(worker, false));
            }
            self.kill_if_cancelled(worker);
        }
        // Cancelled calls stay in the queue, and cancelling again and again must not fill memory.
        self.sweep_if_stale();
        // Items of its task may have waited behind it.
        self.dispatch();
        self.wind_down();
        true
    }

    /// No more jobs; those accepted go on.
    pub(crate) fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closed;
            self.wind_down();
        }
    }

    /// Ends everything now.
    pub(crate) fn terminate(&mut self) {
        self.end(State::Terminated, FailureCause::Terminated);
    }

    /// Changes the number of workers: new ones are launched, those too many leave after their running items.
    pub(crate) fn resize(&mut self, workers: usize) {
        self.config.workers = workers;
        self.workers.grow(workers, WorkerState::new);
        for worker in self.workers.ids() {
            let phase = self.workers[worker].phase;
            if worker.index() < workers {
                if phase == Phase::Vacant {
                    self.launch(worker);
                }
                continue;
            }
            // The place may be filled again later, by a worker that has yet to start.
            self.workers[worker].has_started = false;
            // No process has to leave, so there is no exit to wait for.
            if matches!(phase, Phase::BackingOff(_) | Phase::Resting) {
                self.workers[worker].phase = Phase::Vacant;
                self.unpin(worker);
            } else if matches!(phase, Phase::Starting | Phase::Ready) {
                self.recall_unstarted(worker);
                self.quit(worker);
            }
        }
        self.find_room();
        self.dispatch();
    }

    /// Items are unsettled, or may still come.
    pub(super) fn has_work(&self) -> bool {
        self.unsettled > 0 || self.open_jobs > 0
    }

    /// Ends the pool and all that is in it.
    pub(super) fn end(&mut self, state: State, cause: FailureCause) {
        if self.state == State::Terminated || self.state == State::Broken {
            // The first cause stays: a pool that broke is not said to have been terminated, nor the other way round.
            return;
        }
        self.state = state;
        for id in self.jobs.ids() {
            self.abandon(id, cause);
            // At once, though chunks are with workers: none of their replies will be taken in.
            self.jobs.remove(id);
        }
        self.calls = Default::default();
        self.turns.iter_mut().for_each(Turns::clear);
        self.in_flight = [0; 3];
        self.tasks.iter_mut().for_each(TaskState::clear);
        self.stale = 0;
        self.retries.clear();
        for worker in self.workers.ids() {
            self.workers[worker].in_flight.clear();
            self.workers[worker].pinned.clear();
            self.workers[worker].ahead = 0;
            // Both, since each acts on other phases: without a process, and with one.
            self.vacate(worker);
            self.kill(worker, KillReason::Unwanted);
        }
    }

    /// Ends a job before its items do; its entry stays until its chunks have come back.
    pub(super) fn abandon(&mut self, id: JobId, cause: FailureCause) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(record) = job.record.take() else { return };
        self.unsettled -= job.unsettled - job.dropped;
        self.open_jobs -= usize::from(std::mem::take(&mut job.open));
        job.unsettled = 0;
        (job.dropped, job.is_cut_off) = (0, false);
        let queued = std::mem::take(&mut job.queued);
        if job.flow.is_some() {
            self.retire_flow(id);
        } else {
            // They are in the queue of all calls, and leave it when their turn comes.
            self.stale += queued;
        }
        if self.jobs.get(id).is_some_and(|job| job.in_flight == 0) {
            self.jobs.remove(id);
        }
        self.actions.push_back(Action::Abort { job: id, record, cause });
    }
}
