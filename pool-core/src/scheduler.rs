//! Decides and does nothing: which worker runs what, what a death means, when the pool is done.
//!
//! Pure: no clock, file descriptor, process or lock. Each method is something that happened; what is to be done about
//! it comes out of [`Scheduler::next_action`]. That is why it can be simulated with seeds (see `simulation`).
//!
//! A **job** is what was submitted: a map of many items, or a call. Calls of one task under the same terms that are
//! submitted before the ones before them are done [join](Scheduler::join) these, as further items of one job, so that
//! they are handed out together; but each has an outcome, and can be cancelled, of its own. A **chunk** is a run of
//! consecutive items of one job that travels to a worker as a unit. A job's unfinished items are each in exactly one place: in the
//! queue, in one worker's `in_flight`, or, until their next attempt, in `retries`. An item leaves these for good only
//! through [`Scheduler::replied`] (a value or an error came back), [`Scheduler::failed`] (the worker died of it), or
//! with its whole job (cancelled, terminated, broken). A call that is cancelled is *struck*: it is settled, and stays where
//! it is until its turn comes, since looking for it would take the longer the more is pending.

mod calls;
mod clock;
mod dispatch;
mod joins;
mod pace;
mod processes;
mod retries;
mod settlement;
#[cfg(test)]
mod simulation;
mod slab;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::ops;

pub(crate) use self::calls::CALLS_MAX;
use self::pace::Pace;
pub(crate) use self::slab::JobId;
use self::slab::Slab;
pub(crate) use self::worker::Begun;
use self::worker::{KillReason, Phase, Range, SentChunk, WorkerState};
use crate::units::Nanos;

/// A worker's place in the pool; its process may be replaced, the number stays.
pub(crate) type WorkerId = usize;

#[derive(Clone, Copy, Debug)]
pub(crate) struct SchedulerConfig {
    pub(crate) workers: usize,
    pub(crate) max_tasks_per_worker: Option<u64>,
    pub(crate) restart_limit: u32,
    /// How long a worker may have nothing to do before it leaves until it is needed.
    pub(crate) idle_timeout: Option<Nanos>,
    /// Workers run something first that may fail, and take no work before.
    pub(crate) has_initializer: bool,
    /// How long that may take.
    pub(crate) initializer_timeout: Option<Nanos>,
}

/// What was asked of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobSpec {
    pub(crate) task: u32,
    pub(crate) timeout: Option<Nanos>,
    pub(crate) retries: u32,
    /// A panic is worth another attempt, too.
    pub(crate) retry_panics: bool,
    pub(crate) chunk_size: Option<u32>,
    /// Somebody waits for its end from the start.
    pub(crate) urgent: bool,
    /// Its items come as its results are taken, so nobody can wait for it to be complete.
    pub(crate) lazy: bool,
    /// Nobody waits for a part of its results.
    pub(crate) bulk: bool,
    /// Its items are calls: strangers to each other.
    pub(crate) calls: bool,
}

/// Why an item, or a whole job, has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureCause {
    /// Its worker died while it ran.
    Died,
    /// Its worker was killed since the item had run for `ran` of its `limit`.
    TimedOut {
        limit: Nanos,
        ran: Nanos,
    },
    /// Workers, one after the other, were sent it, did not say that they began it, and were killed for that.
    NotStarted {
        workers: u32,
    },
    /// Its worker was killed since it wrote nonsense.
    Protocol,
    Cancelled,
    Terminated,
    Broken,
}

/// What the shell must do; in this order.
#[derive(Debug)]
pub(crate) enum Action<P> {
    /// Put a chunk into the worker's call ring. A `brief` one may be done before anybody could fall asleep over it.
    Send { worker: WorkerId, seq: u32, job: JobId, first: u64, items: u32, wake: Wake, brief: bool },
    /// Take back what the worker has not begun of a chunk (all of it, or half), and say so with
    /// [`Scheduler::recalled`].
    Recall { worker: WorkerId, seq: u32, items: u32, half: bool },
    /// Deliver the failure of one item, which may be this worker's doing, and say so with [`Scheduler::failed`].
    Fail { worker: Option<WorkerId>, job: JobId, item: u64, cause: FailureCause },
    /// Nothing more will be delivered to the job.
    Finish { record: P },
    /// All that has not been delivered to the job fails; nothing more will be.
    Abort { record: P, cause: FailureCause },
    /// Start a process for the worker, and say so with [`Scheduler::launched`] or [`Scheduler::exited`].
    Launch { worker: WorkerId },
    /// Kill the worker's process; [`Scheduler::exited`] follows.
    Kill { worker: WorkerId },
    /// Tell the worker to leave after what it has; [`Scheduler::exited`] follows.
    Quit { worker: WorkerId },
    /// The worker's initializer has run for `ran` of its `limit`: that is why the worker is about to be killed.
    Overran { worker: WorkerId, limit: Nanos, ran: Nanos },
    /// Look up since when the worker runs its item, and say so with [`Scheduler::probed`].
    Probe { worker: WorkerId },
}

/// Whom a worker wakes when it is through with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Whoever takes replies in.
    Host,
    /// A thread that waits for replies; the router looks up by itself.
    Leader,
    /// Nobody, as long as it has something else to do.
    Nobody,
}

/// A reply that answers nothing that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolViolation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// No new jobs; workers leave when the accepted ones are done.
    Closed,
    /// As closed, and there is nothing left to do.
    Terminated,
    /// Terminated since workers could not be started.
    Broken,
}

#[derive(Debug)]
struct JobEntry<P> {
    /// Taken when the job ended early; the rest only waits for what is in flight.
    record: Option<P>,
    spec: JobSpec,
    /// It was cancelled with what runs: a worker that is at one of its items is killed.
    kills_running: bool,
    /// More items may come.
    open: bool,
    /// Beyond the last item.
    end: u64,
    /// Items accepted and neither delivered nor failed.
    unsettled: u64,
    /// Of these, the items in the queue.
    queued: u64,
    /// Chunks with workers.
    in_flight: u32,
    /// Unsettled items that have cost a worker, or panicked though they may do so again, and items that are struck.
    records: BTreeMap<u64, ItemRecord>,
}

/// What is known of an item beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
struct ItemRecord {
    /// Workers that died of it, or panics after which it may be tried again.
    blamed_workers: u32,
    /// Workers that were killed since they did not begin it.
    not_started: u32,
    /// It was cancelled while it waited or was with a worker: it is settled, and nothing may come of it any more. It stays
    /// where it is until its turn comes, or its worker is through with it.
    cancelled: bool,
    /// It is in [`Scheduler::retries`].
    rests: bool,
}

impl<P> JobEntry<P> {
    fn new(spec: JobSpec, record: P) -> Self {
        JobEntry {
            record: Some(record),
            spec,
            kills_running: false,
            open: true,
            end: 0,
            unsettled: 0,
            queued: 0,
            in_flight: 0,
            records: BTreeMap::new(),
        }
    }

    fn has_cancelled(&self, item: u64) -> bool {
        self.records.get(&item).is_some_and(|record| record.cancelled)
    }

    /// The last of these items that is struck.
    #[inline]
    fn last_cancelled(&self, items: ops::Range<u64>) -> Option<u64> {
        if self.records.is_empty() {
            return None;
        }
        self.records.range(items).rev().find(|(_, record)| record.cancelled).map(|(&item, _)| item)
    }

    /// The first of these items that is struck. Maps have none.
    #[inline]
    fn first_struck(&self, range: Range) -> Option<u64> {
        if self.records.is_empty() || !self.spec.calls {
            return None;
        }
        self.records.range(range.first..range.end()).find(|(_, record)| record.cancelled).map(|(&item, _)| item)
    }

    /// The items are settled; how many of them had been struck, and so been settled before.
    #[inline]
    fn forget(&mut self, first: u64, items: u32) -> u64 {
        if self.records.is_empty() {
            return 0;
        }
        let records = self.records.extract_if(first..first + u64::from(items), |_, _| true);
        records.filter(|(_, record)| record.cancelled).count() as u64
    }
}

#[derive(Debug)]
pub(crate) struct Scheduler<P> {
    config: SchedulerConfig,
    state: State,
    now: Nanos,
    jobs: Slab<JobEntry<P>>,
    queue: VecDeque<Range>,
    /// Items in the queue that nobody is to run: struck ones, and those of jobs that have ended.
    stale: u64,
    /// Items that wait for another attempt, by the time from which they may have it. Some may be of jobs that have
    /// ended.
    retries: BTreeMap<Nanos, Vec<Range>>,
    workers: Vec<WorkerState>,
    paces: Vec<Pace>,
    actions: VecDeque<Action<P>>,
    /// No worker has room: cleared by whatever may give one some.
    full: bool,
    unsettled: u64,
    open_jobs: usize,
    /// Callers that wait for the end for a limited time.
    joiners: u32,
    wake_at: Option<Nanos>,
}

impl<P> Scheduler<P> {
    /// A pool whose workers are all to be launched.
    pub(crate) fn new(config: SchedulerConfig, tasks: usize) -> Self {
        let mut scheduler = Scheduler {
            config,
            state: State::Open,
            now: 0,
            jobs: Slab::new(),
            queue: VecDeque::new(),
            stale: 0,
            retries: BTreeMap::new(),
            workers: (0..config.workers).map(|_| WorkerState::new()).collect(),
            paces: vec![Pace::default(); tasks],
            actions: VecDeque::new(),
            full: false,
            unsettled: 0,
            open_jobs: 0,
            joiners: 0,
            wake_at: None,
        };
        (0..config.workers).for_each(|worker| scheduler.launch(worker));
        scheduler
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Items accepted and not settled.
    pub(crate) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Every worker has gone and none will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.state != State::Open && self.workers.iter().all(|worker| worker.phase == Phase::Vacant)
    }

    /// The pool as it should be; [`Scheduler::resize`] changes it.
    pub(crate) fn workers(&self) -> usize {
        self.config.workers
    }

    pub(crate) fn record(&self, job: JobId) -> Option<&P> {
        self.jobs.get(job)?.record.as_ref()
    }

    pub(crate) fn record_mut(&mut self, job: JobId) -> Option<&mut P> {
        self.jobs.get_mut(job)?.record.as_mut()
    }

    /// The chunk that the worker is at, and how many of its items have been answered.
    pub(crate) fn current_chunk(&self, worker: WorkerId) -> Option<(u32, u32)> {
        self.workers[worker].in_flight.front().map(|sent| (sent.seq, sent.settled))
    }

    /// Items of the chunk that the worker is at that have not been answered.
    #[inline]
    pub(crate) fn unanswered(&self, worker: WorkerId) -> u32 {
        self.workers[worker].in_flight.front().map_or(0, |sent| sent.range.items - sent.settled)
    }

    /// Whether its process is being killed.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_killed(&self, worker: WorkerId) -> bool {
        matches!(self.workers[worker].phase, Phase::Killed(_))
    }

    #[inline]
    pub(crate) fn next_action(&mut self) -> Option<Action<P>> {
        self.actions.pop_front()
    }

    // ---- what callers do -------------------------------------------------------------------------------------------

    /// A job of no items yet; they come by [`Scheduler::add_items`] until it is [sealed](Scheduler::seal). The pool must be
    /// open.
    pub(crate) fn submit(&mut self, spec: JobSpec, record: impl FnOnce(JobId) -> P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        self.open_jobs += 1;
        self.jobs.insert(|id| JobEntry::new(spec, record(id)))
    }

    /// Adds items to an open job; false if it has ended.
    pub(crate) fn add_items(&mut self, id: JobId, first: u64, items: u32) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.open) else { return false };
        if items > 0 {
            job.end = first + u64::from(items);
            job.unsettled += u64::from(items);
            job.queued += u64::from(items);
            self.unsettled += u64::from(items);
            self.queue.push_back(Range { job: id, first, items });
            self.dispatch();
        }
        true
    }

    /// No more items will come.
    pub(crate) fn seal(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.open) else { return };
        job.open = false;
        self.open_jobs -= 1;
        self.finish_if_done(id);
        self.wind_down();
    }

    /// Ends a job early. What waits is dropped, what was sent and not begun is taken back; what runs is killed if
    /// `running` is set, else left to end for nobody. False if the job had ended.
    pub(crate) fn cancel(&mut self, id: JobId, running: bool) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return false };
        job.kills_running = running;
        self.abandon(id, FailureCause::Cancelled);
        for worker in 0..self.workers.len() {
            let sent = self.workers[worker].in_flight.iter_mut().filter(|sent| sent.range.job == id);
            for sent in sent {
                sent.ask_back();
                let (seq, items) = (sent.seq, sent.range.items);
                self.actions.push_back(Action::Recall { worker, seq, items, half: false });
            }
            self.kill_if_cancelled(worker);
        }
        self.sweep_if_stale();
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

    /// Changes the number of workers: new ones are launched, those too many leave after what they run.
    pub(crate) fn resize(&mut self, workers: usize) {
        self.config.workers = workers;
        while self.workers.len() < workers {
            self.workers.push(WorkerState::new());
        }
        for worker in 0..self.workers.len() {
            let phase = self.workers[worker].phase;
            if worker < workers {
                if phase == Phase::Vacant {
                    self.launch(worker);
                }
            } else if matches!(phase, Phase::BackingOff(_) | Phase::Resting) {
                self.workers[worker].phase = Phase::Vacant;
            } else if matches!(phase, Phase::Starting | Phase::Ready) {
                self.recall_unstarted(worker);
                self.quit(worker);
            }
        }
        self.full = false;
        self.dispatch();
    }

    // ---- inside ----------------------------------------------------------------------------------------------------

    /// Items are left that somebody may still have to run.
    fn has_work(&self) -> bool {
        self.unsettled > 0 || self.open_jobs > 0
    }

    fn end(&mut self, state: State, cause: FailureCause) {
        if self.state == State::Terminated || self.state == State::Broken {
            return;
        }
        self.state = state;
        for id in self.jobs.ids() {
            self.abandon(id, cause);
            self.jobs.remove(id);
        }
        self.queue.clear();
        self.stale = 0;
        self.retries.clear();
        for worker in 0..self.workers.len() {
            self.workers[worker].in_flight.clear();
            self.vacate(worker);
            self.kill(worker, KillReason::Unwanted);
        }
    }

    /// Ends a job before its items do; its place stays until what is in flight has come back.
    fn abandon(&mut self, id: JobId, cause: FailureCause) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(record) = job.record.take() else { return };
        self.unsettled -= job.unsettled;
        self.open_jobs -= usize::from(std::mem::take(&mut job.open));
        job.unsettled = 0;
        self.stale += std::mem::take(&mut job.queued);
        if job.in_flight == 0 {
            self.jobs.remove(id);
        }
        self.actions.push_back(Action::Abort { record, cause });
    }
}
