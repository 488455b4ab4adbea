//! Decides which worker runs which items, and how the items of a dead worker go on. It is pure: no clock, file
//! descriptor, process or lock, so that it can be simulated with seeds (see `simulation`).
//!
//! A **job** is one submission: a map of many items, or a call. Calls of one task with the same options that are submitted
//! before the ones before them are done [join](Scheduler::join) these as further items of one job, so that they are handed
//! out together; but each has an outcome, and can be cancelled, of its own. A **chunk** is a run of consecutive items of one
//! job that travels to a worker as a unit.
//!
//! The files import one another in one direction: `interface`, `tuning`, `slab`, `by_worker`, `worker`, `job`, `pace` hold
//! types and know no scheduler; each of the others holds the events of one kind.

mod broadcast;
mod by_worker;
mod calls;
mod cancelling;
mod capacity;
mod clock;
mod dispatch;
mod flow;
mod grace;
mod insight;
mod interface;
mod job;
mod joins;
mod milestones;
mod pace;
mod processes;
mod recall;
mod remote;
mod retries;
mod settlement;
#[cfg(test)]
mod simulation;
mod slab;
mod submission;
mod task;
mod tuning;
mod turns;
mod worker;
mod worker_set;

use std::collections::{BTreeMap, VecDeque};

pub(crate) use self::by_worker::ByWorker;
use self::flow::{Flow, Turns};
pub(crate) use self::interface::{
    Action, Activity, Begun, CurrentChunk, EndedChunk, ExitReason, FailureCause, JobId, JobSpec, ProtocolViolation,
    SchedulerConfig, Seq, State, Wake, WorkerId,
};
use self::job::JobEntry;
use self::slab::Slab;
use self::task::TaskState;
use self::tuning::NARROW_WORKERS_MIN;
pub(crate) use self::tuning::{CALLS_PER_CHUNK_MAX, NARROW_WORKERS};
use self::worker::{Phase, Range, WorkerState};
pub(crate) use self::worker_set::WorkerSet;
use crate::units::Nanos;

/// The state of a pool, and the rules by which it goes on.
///
/// # Contract with the shell
///
/// - Methods with `&mut self` are events: something happened. Before an event the shell sets the time with
///   [`set_now`](Scheduler::set_now) (or calls [`tick`](Scheduler::tick)); after it the shell drains
///   [`next_action`](Scheduler::next_action) and carries the actions out in their order. An action may report back at once
///   ([`recalled`](Scheduler::recalled), [`failed`](Scheduler::failed), [`probed`](Scheduler::probed)), which is an event, too.
/// - Replies of one worker are reported in the order in which it wrote them, and those of a process that is gone before
///   [`exited`](Scheduler::exited).
/// - [`tick`](Scheduler::tick) is called at the latest at [`wake_at`](Scheduler::wake_at). `None` means that time changes
///   nothing.
///
/// # Invariants
///
/// - An unsettled item is in exactly one place: in the queue, in one worker's `in_flight`, or, until its next attempt, in
///   `retries`. It leaves these for good only through [`replied`](Scheduler::replied) (a value or an error came),
///   [`failed`](Scheduler::failed) (its worker died of it, or it was cancelled), or with its whole job. A call that is
///   cancelled is settled and stays in its place until its turn comes: a search for it would take the longer the more is
///   pending.
/// - No item has two outcomes, and no item runs while an earlier run of it may still count.
/// - Nothing is delivered to a job after its [`Finish`](Action::Finish) or [`Abort`](Action::Abort).
/// - No action goes to a worker without a process, except [`Launch`](Action::Launch).
#[derive(Debug)]
pub(crate) struct Scheduler<P> {
    config: SchedulerConfig,
    state: State,
    now: Nanos,
    jobs: Slab<JobEntry<P>>,
    /// The flows of calls, by priority; those of maps are in their jobs.
    calls: [Flow; 3],
    /// The flows that have items for workers, by priority.
    turns: [Turns; 3],
    /// Chunks of which workers have items, by priority.
    in_flight: [u32; 3],
    /// Several flows have items for workers, or had so lately.
    contended_until: Nanos,
    /// True while all waiting items are being cancelled, or the items of a dead worker come back; nothing is sent then.
    holds_back: bool,
    /// Items in the calls' queues that will not run: cancelled ones, and those of jobs that have ended.
    stale: u64,
    /// Items that wait for another attempt, by the time from which they may have it. Some may be of jobs that have
    /// ended.
    retries: BTreeMap<Nanos, Vec<Range>>,
    workers: ByWorker<WorkerState>,
    tasks: Vec<TaskState>,
    actions: VecDeque<Action<P>>,
    /// True if no worker has room, so that a submission need not look for one. Every event that may give a worker room
    /// clears it.
    full: bool,
    /// True if full only for a map that has just begun, which does not wake all idle workers yet.
    is_narrow: bool,
    /// If not full, only this worker may have room.
    freed: Option<WorkerId>,
    /// Ready workers without chunks. A member may have changed since, so it is checked when it is looked at.
    idle: WorkerSet,
    /// Workers with chunks. Workers that had some may still be members.
    busy: WorkerSet,
    /// When the first worker of all was ready, or `Nanos::MAX` before.
    first_ready_at: Nanos,
    /// Workers that a short map wakes at first.
    narrow_workers: usize,
    unsettled: u64,
    open_jobs: usize,
    /// Callers that wait for the end for a limited time.
    joiners: u32,
    wake_at: Option<Nanos>,
    /// Workers have other machines run the items.
    #[cfg(feature = "remote")]
    is_remote: bool,
}

impl<P> Scheduler<P> {
    /// Creates a pool, and asks for the launch of all its workers.
    pub(crate) fn new(config: SchedulerConfig, tasks: usize) -> Self {
        let mut workers = ByWorker::default();
        workers.grow(config.workers, WorkerState::new);
        let mut scheduler = Scheduler {
            config,
            state: State::Open,
            now: 0,
            jobs: Slab::new(),
            calls: Default::default(),
            turns: Default::default(),
            in_flight: [0; 3],
            contended_until: 0,
            first_ready_at: Nanos::MAX,
            narrow_workers: NARROW_WORKERS,
            holds_back: false,
            stale: 0,
            retries: BTreeMap::new(),
            workers,
            tasks: vec![TaskState::default(); tasks],
            actions: VecDeque::new(),
            full: false,
            is_narrow: false,
            freed: None,
            idle: WorkerSet::default(),
            busy: WorkerSet::default(),
            unsettled: 0,
            open_jobs: 0,
            joiners: 0,
            wake_at: None,
            #[cfg(feature = "remote")]
            is_remote: false,
        };
        // All at once, so that the first map finds all workers.
        scheduler.workers.ids().for_each(|worker| scheduler.launch(worker));
        scheduler
    }

    /// Workers share so many CPUs.
    pub(crate) fn on_cpus(self, cpus: usize) -> Self {
        Scheduler { narrow_workers: cpus.clamp(NARROW_WORKERS_MIN, NARROW_WORKERS), ..self }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Items accepted and not settled.
    pub(crate) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// The pool has ended: no process is left and none will come.
    pub(crate) fn is_finished(&self) -> bool {
        // The state alone is not enough: a process that was told to leave may still run.
        self.state != State::Open && self.workers.values().all(|worker| worker.phase == Phase::Vacant)
    }

    /// The size that the pool should have; [`Scheduler::resize`] changes it.
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
    pub(crate) fn current_chunk(&self, worker: WorkerId) -> Option<(Seq, u32)> {
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
    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// The oldest action that has not been carried out.
    #[inline]
    pub(crate) fn next_action(&mut self) -> Option<Action<P>> {
        self.actions.pop_front()
    }
}
