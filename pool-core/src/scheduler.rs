//! Decides and does nothing: which worker runs what, what a death means, when the pool is done.
//!
//! Pure: no clock, file descriptor, process or lock. Each method is something that happened; what is to be done about it
//! comes out of [`Scheduler::next_action`]. That is why it can be simulated with seeds (see `simulation`).
//!
//! A **job** is what was submitted: one item for a single call, many for a map. A **chunk** is a run of consecutive items
//! of one job that travels to a worker as a unit. A job's unfinished items are each in exactly one place: in the queue, or
//! in one worker's `in_flight`. An item leaves either for good only through [`Scheduler::replied`] (a value or an error
//! came back), [`Scheduler::failed`] (the worker died of it), or with its whole job (cancelled, terminated, broken).

mod pace;
#[cfg(test)]
mod simulation;
mod slab;

use std::collections::{HashMap, VecDeque};

use self::pace::Pace;
pub(crate) use self::slab::JobId;
use self::slab::Slab;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Nanos = u64;

/// A worker's place in the pool; its process may be replaced, the number stays.
pub(crate) type WorkerId = usize;

/// Wait before a worker that failed to start is started again; doubles with each failure in a row.
const BACK_OFF: Nanos = 10_000_000;
const BACK_OFF_DOUBLINGS_MAX: u32 = 7;

/// A chunk is taken back from a busy worker for an idle one if it holds at least this much work ...
const RECALL_MIN: Nanos = 50_000;
/// ... or if the busy worker has been silent for this long, whatever was expected of it.
const SILENCE: Nanos = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) max_tasks_per_worker: Option<u64>,
    pub(crate) restart_limit: u32,
    /// How long a worker may have nothing to do before it leaves until it is needed.
    pub(crate) idle_timeout: Option<Nanos>,
    /// Workers run something first that may fail, and take no work before.
    pub(crate) has_initializer: bool,
}

/// What was asked of one job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) task: u32,
    pub(crate) timeout: Option<Nanos>,
    pub(crate) retries: u32,
    pub(crate) chunk_size: Option<u32>,
    /// Somebody waits for its end from the start.
    pub(crate) urgent: bool,
    /// Its items come as its results are taken, so nobody can wait for it to be complete.
    pub(crate) lazy: bool,
}

/// Why an item, or a whole job, has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its worker died while it ran.
    Died,
    /// Its worker was killed since the item had run for `ran` of its `limit`.
    TimedOut {
        limit: Nanos,
        ran: Nanos,
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
    /// Put a chunk into the worker's call ring. A `quiet` one need not wake the host when it is done.
    Send { worker: WorkerId, seq: u32, job: JobId, first: u64, items: u32, quiet: bool },
    /// Take back what the worker has not begun of a chunk (all of it, or half), and say so with [`Scheduler::recalled`].
    Recall { worker: WorkerId, seq: u32, items: u32, half: bool },
    /// Deliver the failure of one item, and say so with [`Scheduler::failed`].
    Fail { worker: WorkerId, job: JobId, item: u64, verdict: Verdict },
    /// Nothing more will be delivered to the job.
    Finish { payload: P },
    /// All that has not been delivered to the job fails; nothing more will be.
    Abort { payload: P, verdict: Verdict },
    /// Start a process for the worker, and say so with [`Scheduler::launched`] or [`Scheduler::exited`].
    Launch { worker: WorkerId },
    /// Kill the worker's process; [`Scheduler::exited`] follows.
    Kill { worker: WorkerId },
    /// Tell the worker to leave after what it has; [`Scheduler::exited`] follows.
    Quit { worker: WorkerId },
    /// Look up since when the worker runs its item, and say so with [`Scheduler::probed`].
    Probe { worker: WorkerId },
}

/// A reply that answers nothing that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation;

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
struct Job<P> {
    /// Taken when the job ended early; the rest only waits for what is in flight.
    payload: Option<P>,
    terms: Terms,
    /// More items may come.
    open: bool,
    /// Items accepted and neither delivered nor failed.
    unsettled: u64,
    /// Of these, the items in the queue.
    queued: u64,
    /// Chunks with workers.
    in_flight: u32,
    /// Items that have cost a worker, and how often.
    #[expect(clippy::box_collection, reason = "few jobs have any, and there may be ten million jobs")]
    attempts: Option<Box<HashMap<u64, u32>>>,
}

/// Items of a job that wait for a worker.
#[derive(Clone, Copy, Debug)]
struct Range {
    job: JobId,
    first: u64,
    items: u32,
}

/// A chunk that was sent.
#[derive(Debug)]
struct Sent {
    seq: u32,
    range: Range,
    /// Items that were answered.
    settled: u32,
    recalling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No process and none wanted.
    Vacant,
    /// No process until there is work for one.
    Resting,
    /// To be launched again at this time.
    BackingOff(Nanos),
    Launching,
    /// There is a process; it has not said that it is ready.
    Starting,
    Ready,
    /// Told to leave.
    Leaving,
    /// Told to leave for want of work.
    Retiring,
    /// Killed by us, for this reason.
    Doomed(Doom),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doom {
    Timeout {
        seq: u32,
        limit: Nanos,
        ran: Nanos,
    },
    Protocol,
    /// The chunk `seq` was cancelled.
    Cancelled {
        seq: u32,
    },
    /// It wrote nonsense before it was ready: as good as one that could not be started.
    Unfit,
    /// The pool was terminated.
    Unwanted,
}

impl Doom {
    /// Whether the chunk that the worker had begun is the reason why it was killed.
    fn is_about(self, seq: u32) -> bool {
        match self {
            Doom::Timeout { seq: guilty, .. } | Doom::Cancelled { seq: guilty } => guilty == seq,
            Doom::Protocol => true,
            Doom::Unfit | Doom::Unwanted => false,
        }
    }
}

#[derive(Debug)]
struct Worker {
    phase: Phase,
    /// Oldest first: a worker answers in the order of sending.
    in_flight: VecDeque<Sent>,
    next_seq: u32,
    /// Items sent to this process.
    served: u64,
    /// Starts in a row that came to nothing.
    failures: u32,
    /// When this worker last gave a sign of life.
    heard: Nanos,
    /// When to look at the running item's time.
    deadline: Option<Nanos>,
}

impl Worker {
    fn new() -> Self {
        Worker {
            phase: Phase::Vacant,
            in_flight: VecDeque::new(),
            next_seq: 0,
            served: 0,
            failures: 0,
            heard: 0,
            deadline: None,
        }
    }

    fn takes_work(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Ready)
    }

    /// The newest chunk of which something may be taken back: one that was taken back whole keeps its place until it is
    /// answered, and one that could not be taken back is not asked for again.
    fn last_to_recall(&self) -> Option<(usize, &Sent)> {
        self.in_flight.iter().enumerate().rev().find(|(_, sent)| !sent.recalling && sent.range.items > sent.settled)
    }
}

#[derive(Debug)]
pub(crate) struct Scheduler<P> {
    config: Config,
    state: State,
    now: Nanos,
    jobs: Slab<Job<P>>,
    queue: VecDeque<Range>,
    workers: Vec<Worker>,
    paces: Vec<Pace>,
    actions: VecDeque<Action<P>>,
    /// No worker has room: cleared by whatever may give one some.
    full: bool,
    unsettled: u64,
    open_jobs: usize,
    wake_at: Option<Nanos>,
}

impl<P> Scheduler<P> {
    /// A pool whose workers are all to be launched.
    pub(crate) fn new(config: Config, tasks: usize) -> Self {
        let mut scheduler = Scheduler {
            config,
            state: State::Open,
            now: 0,
            jobs: Slab::new(),
            queue: VecDeque::new(),
            workers: (0..config.workers).map(|_| Worker::new()).collect(),
            paces: vec![Pace::default(); tasks],
            actions: VecDeque::new(),
            full: false,
            unsettled: 0,
            open_jobs: 0,
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

    pub(crate) fn payload(&self, job: JobId) -> Option<&P> {
        self.jobs.get(job)?.payload.as_ref()
    }

    pub(crate) fn payload_mut(&mut self, job: JobId) -> Option<&mut P> {
        self.jobs.get_mut(job)?.payload.as_mut()
    }

    /// The chunk that the worker is at, and how many of its items have been answered.
    pub(crate) fn front(&self, worker: WorkerId) -> Option<(u32, u32)> {
        self.workers[worker].in_flight.front().map(|sent| (sent.seq, sent.settled))
    }

    /// When [`Scheduler::tick`] is wanted next.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        self.wake_at
    }

    #[inline]
    pub(crate) fn next_action(&mut self) -> Option<Action<P>> {
        self.actions.pop_front()
    }

    // ---- what callers do -------------------------------------------------------------------------------------------

    /// A job of no items yet; they come by [`Scheduler::feed`] until it is [sealed](Scheduler::seal). The pool must be open.
    pub(crate) fn submit(&mut self, terms: Terms, payload: P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        self.open_jobs += 1;
        self.jobs.insert(Job {
            payload: Some(payload),
            terms,
            open: true,
            unsettled: 0,
            queued: 0,
            in_flight: 0,
            attempts: None,
        })
    }

    /// A job of exactly one item.
    pub(crate) fn submit_one(&mut self, terms: Terms, payload: P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        self.unsettled += 1;
        let job = self.jobs.insert(Job {
            payload: Some(payload),
            terms,
            open: false,
            unsettled: 1,
            queued: 1,
            in_flight: 0,
            attempts: None,
        });
        self.queue.push_back(Range { job, first: 0, items: 1 });
        self.dispatch();
        job
    }

    /// Adds items to an open job; false if it has ended.
    pub(crate) fn feed(&mut self, id: JobId, first: u64, items: u32) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.open) else { return false };
        if items > 0 {
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
        if self.payload(id).is_none() {
            return false;
        }
        self.abandon(id, Verdict::Cancelled);
        for worker in 0..self.workers.len() {
            let sent = self.workers[worker].in_flight.iter_mut().filter(|sent| sent.range.job == id);
            for sent in sent {
                sent.recalling = true;
                let (seq, items) = (sent.seq, sent.range.items);
                self.actions.push_back(Action::Recall { worker, seq, items, half: false });
            }
            let front = self.workers[worker].in_flight.front().filter(|sent| running && sent.range.job == id);
            if let Some(seq) = front.map(|sent| sent.seq) {
                self.doom(worker, Doom::Cancelled { seq });
            }
        }
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

    /// Lazy jobs get no more items: `join` waits for nobody to pull an iterator.
    pub(crate) fn seal_lazy(&mut self) {
        for id in self.jobs.ids() {
            if self.jobs.get(id).is_some_and(|job| job.terms.lazy) {
                self.seal(id);
            }
        }
    }

    /// Ends everything now.
    pub(crate) fn terminate(&mut self) {
        self.end(State::Terminated, Verdict::Terminated);
    }

    /// Changes the number of workers: new ones are launched, those too many leave after what they run.
    pub(crate) fn resize(&mut self, workers: usize) {
        self.config.workers = workers;
        while self.workers.len() < workers {
            self.workers.push(Worker::new());
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

    // ---- what workers do -------------------------------------------------------------------------------------------

    /// There is a process.
    pub(crate) fn launched(&mut self, worker: WorkerId) {
        let slot = &mut self.workers[worker];
        if slot.phase == Phase::Launching {
            slot.phase = Phase::Starting;
            slot.heard = self.now;
        }
        if self.state == State::Terminated || self.state == State::Broken {
            self.doom(worker, Doom::Unwanted);
        } else if worker >= self.config.workers {
            self.quit(worker);
        }
        self.full = false;
        self.dispatch();
        self.wind_down();
    }

    /// The process has run its initializer.
    pub(crate) fn ready(&mut self, worker: WorkerId) {
        let slot = &mut self.workers[worker];
        slot.failures = 0;
        slot.heard = self.now;
        if slot.phase == Phase::Starting {
            slot.phase = Phase::Ready;
        }
        self.full = false;
        self.dispatch();
        self.retire_if_idle(worker);
    }

    /// Whose items a reply about the next `items` items of the chunk `seq` is about: the job and the first of them.
    pub(crate) fn addressee(&self, worker: WorkerId, seq: u32, items: u32) -> Result<(JobId, u64), Violation> {
        let sent = self.workers[worker].in_flight.front().filter(|sent| sent.seq == seq).ok_or(Violation)?;
        let end = sent.settled.checked_add(items).ok_or(Violation)?;
        if end > sent.range.items {
            return Err(Violation);
        }
        Ok((sent.range.job, sent.range.first + u64::from(sent.settled)))
    }

    /// The next `items` items of the chunk `seq` have been delivered; with `last`, the worker is through with the chunk,
    /// having spent `elapsed` on it. The reply must have an [addressee](Scheduler::addressee).
    pub(crate) fn replied(&mut self, worker: WorkerId, seq: u32, items: u32, last: bool, elapsed: Nanos) {
        let now = self.now;
        let slot = &mut self.workers[worker];
        slot.heard = now;
        let sent = slot.in_flight.front_mut().expect("the reply has an addressee");
        debug_assert_eq!(sent.seq, seq);
        sent.settled += items;
        let job = sent.range.job;
        self.settle(job, u64::from(items));
        if last {
            let slot = &mut self.workers[worker];
            let sent = slot.in_flight.pop_front().expect("it was there above");
            slot.deadline = None;
            if sent.settled > 0
                && let Some(job) = self.jobs.get(job)
            {
                self.paces[job.terms.task as usize].learn(sent.settled, elapsed);
            }
            self.chunk_ended(&sent);
            self.after_chunk(worker);
        }
        self.finish_if_done(job);
    }

    /// The failure of an item has been delivered.
    pub(crate) fn failed(&mut self, job: JobId) {
        self.settle(job, 1);
        self.finish_if_done(job);
    }

    /// What a [recall](Action::Recall) achieved: the worker may run `kept` items of the chunk, and none beyond.
    pub(crate) fn recalled(&mut self, worker: WorkerId, seq: u32, kept: u32) {
        let slot = &mut self.workers[worker];
        let Some(sent) = slot.in_flight.iter_mut().find(|sent| sent.seq == seq) else { return };
        let kept = kept.max(sent.settled);
        if kept >= sent.range.items {
            // Whoever idles is given something else.
            self.dispatch();
            return;
        }
        let range =
            Range { job: sent.range.job, first: sent.range.first + u64::from(kept), items: sent.range.items - kept };
        sent.range.items = kept;
        sent.recalling = false;
        slot.served = slot.served.saturating_sub(u64::from(range.items));
        self.requeue(range);
        self.dispatch();
    }

    /// The process has grown too large: it leaves after what it runs, and a fresh one comes.
    pub(crate) fn wore_out(&mut self, worker: WorkerId) {
        self.recall_unstarted(worker);
        self.quit(worker);
    }

    /// The process has written nonsense.
    pub(crate) fn misbehaved(&mut self, worker: WorkerId) {
        let is_starting = self.workers[worker].phase == Phase::Starting;
        self.doom(worker, if is_starting { Doom::Unfit } else { Doom::Protocol });
    }

    /// The process is gone, and everything that it had published has been [taken in](Scheduler::replied).
    /// By its own notes it had begun the chunk `progress`.
    pub(crate) fn exited(&mut self, worker: WorkerId, progress: Option<u32>) {
        let slot = &mut self.workers[worker];
        let phase = slot.phase;
        let lost = std::mem::take(&mut slot.in_flight);
        slot.phase = Phase::Vacant;
        slot.served = 0;
        slot.next_seq = 0;
        slot.deadline = None;
        if self.state == State::Terminated || self.state == State::Broken {
            return;
        }
        // Newest first, each to the front of the queue, so that they end up in their old order.
        for (at, mut sent) in lost.into_iter().enumerate().rev() {
            self.in_flight_ended(sent.range.job);
            // The chunk that we killed it for is to blame, if any is; else the one that it had begun.
            let blamed = match phase {
                Phase::Doomed(doom) => doom.is_about(sent.seq),
                _ => progress == Some(sent.seq),
            };
            if at > 0 || !blamed {
                self.give_back(&sent);
                self.finish_if_done(sent.range.job);
                continue;
            }
            // The items before the one that it was in have been salvaged, so that is the first one without an answer,
            // whatever a worker that scribbled may say.
            let item = sent.range.first + u64::from(sent.settled);
            if sent.settled < sent.range.items {
                sent.settled += 1;
                self.give_back(&sent);
                self.charge(worker, sent.range.job, item, phase);
            }
            self.finish_if_done(sent.range.job);
        }
        self.replace(worker, phase);
        self.full = false;
        self.dispatch();
        self.wind_down();
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// Sets the time, so that what happens next is dated.
    #[inline]
    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.now = now;
        self.wake_at = None;
        for worker in 0..self.workers.len() {
            match self.workers[worker].phase {
                Phase::BackingOff(until) if until <= now => self.launch(worker),
                Phase::BackingOff(until) => self.wake_by(until),
                Phase::Ready => self.retire_if_idle(worker),
                _ => {}
            }
            if let Some(deadline) = self.workers[worker].deadline {
                if deadline <= now {
                    self.actions.push_back(Action::Probe { worker });
                } else {
                    self.wake_by(deadline);
                }
            }
        }
        self.dispatch();
    }

    /// The worker runs an item of the chunk `seq` since `since`, or has not begun it.
    pub(crate) fn probed(&mut self, worker: WorkerId, seq: u32, since: Option<Nanos>) {
        let Some(sent) = self.workers[worker].in_flight.front() else { return };
        let Some(limit) = self.jobs.get(sent.range.job).and_then(|job| job.terms.timeout) else { return };
        let begun = since.filter(|_| sent.seq == seq).unwrap_or(self.now);
        let ran = self.now.saturating_sub(begun);
        if ran >= limit {
            self.doom(worker, Doom::Timeout { seq, limit, ran });
        } else {
            let deadline = begun.saturating_add(limit);
            self.workers[worker].deadline = Some(deadline);
            self.wake_by(deadline);
        }
    }

    // ---- inside ----------------------------------------------------------------------------------------------------

    fn launch(&mut self, worker: WorkerId) {
        self.workers[worker].phase = Phase::Launching;
        self.actions.push_back(Action::Launch { worker });
    }

    fn doom(&mut self, worker: WorkerId, doom: Doom) {
        let slot = &mut self.workers[worker];
        if matches!(slot.phase, Phase::Starting | Phase::Ready | Phase::Leaving | Phase::Retiring) {
            slot.phase = Phase::Doomed(doom);
            slot.deadline = None;
            // What it has not begun goes elsewhere, and surely is not begun any more while the kill is under way.
            self.recall_unstarted(worker);
            self.actions.push_back(Action::Kill { worker });
        }
    }

    fn quit(&mut self, worker: WorkerId) {
        let slot = &mut self.workers[worker];
        if slot.takes_work() {
            slot.phase = Phase::Leaving;
            self.actions.push_back(Action::Quit { worker });
        }
    }

    /// Sends a worker home that has had nothing to do for long enough; sees to it that it will be, if it has nothing to do now.
    fn retire_if_idle(&mut self, worker: WorkerId) {
        let Some(limit) = self.config.idle_timeout else { return };
        let slot = &mut self.workers[worker];
        if slot.phase != Phase::Ready || !slot.in_flight.is_empty() {
            return;
        }
        let until = slot.heard.saturating_add(limit);
        if until > self.now {
            self.wake_by(until);
            return;
        }
        slot.phase = Phase::Retiring;
        self.actions.push_back(Action::Quit { worker });
    }

    /// There is more to do than idle workers can take: one that rests is called back.
    fn call_back(&mut self) {
        if self.config.idle_timeout.is_some()
            && let Some(worker) = self.workers.iter().position(|slot| slot.phase == Phase::Resting)
        {
            self.launch(worker);
        }
    }

    /// Starts a successor of a worker that ended in `phase`, if one is wanted.
    fn replace(&mut self, worker: WorkerId, phase: Phase) {
        let wanted = worker < self.config.workers && (self.state == State::Open || self.has_work());
        let slot = &mut self.workers[worker];
        if matches!(phase, Phase::Launching | Phase::Starting | Phase::Doomed(Doom::Unfit)) {
            slot.failures += 1;
            if slot.failures > self.config.restart_limit {
                self.end(State::Broken, Verdict::Broken);
                return;
            }
            if wanted {
                let pause = BACK_OFF << (slot.failures - 1).min(BACK_OFF_DOUBLINGS_MAX);
                let until = self.now.saturating_add(pause);
                slot.phase = Phase::BackingOff(until);
                self.wake_by(until);
            }
        } else if wanted && phase == Phase::Retiring {
            slot.phase = Phase::Resting;
        } else if wanted {
            self.launch(worker);
        }
    }

    /// Items are left that somebody may still have to run.
    fn has_work(&self) -> bool {
        self.unsettled > 0 || self.open_jobs > 0
    }

    /// Sends the workers home when a closed pool has nothing left to do.
    fn wind_down(&mut self) {
        if self.state != State::Closed || self.has_work() {
            return;
        }
        for worker in 0..self.workers.len() {
            self.vacate(worker);
            self.quit(worker);
        }
    }

    /// Nobody will be started in a place where there is nobody.
    fn vacate(&mut self, worker: WorkerId) {
        if let Phase::BackingOff(_) | Phase::Resting = self.workers[worker].phase {
            self.workers[worker].phase = Phase::Vacant;
            // No process ends with it, so nothing else might make the shell see that the pool is finished.
            self.wake_by(self.now);
        }
    }

    fn end(&mut self, state: State, verdict: Verdict) {
        if self.state == State::Terminated || self.state == State::Broken {
            return;
        }
        self.state = state;
        for id in self.jobs.ids() {
            self.abandon(id, verdict);
            self.jobs.remove(id);
        }
        self.queue.clear();
        for worker in 0..self.workers.len() {
            self.workers[worker].in_flight.clear();
            self.vacate(worker);
            self.doom(worker, Doom::Unwanted);
        }
    }

    /// Ends a job before its items do; its place stays until what is in flight has come back.
    fn abandon(&mut self, id: JobId, verdict: Verdict) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(payload) = job.payload.take() else { return };
        self.unsettled -= job.unsettled;
        self.open_jobs -= usize::from(std::mem::take(&mut job.open));
        job.unsettled = 0;
        job.queued = 0;
        if job.in_flight == 0 {
            self.jobs.remove(id);
        }
        self.actions.push_back(Action::Abort { payload, verdict });
    }

    /// `items` of the job have been answered.
    fn settle(&mut self, id: JobId, items: u64) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.payload.is_some()) else { return };
        debug_assert!(job.unsettled >= items);
        job.unsettled -= items;
        self.unsettled -= items;
    }

    fn finish_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.unsettled > 0 || job.open {
            return;
        }
        // A chunk that was taken back may still be out, as a number that its worker has to pass; nobody waits for that.
        let payload = job.payload.take();
        if job.in_flight == 0 {
            self.jobs.remove(id);
        }
        self.actions.extend(payload.map(|payload| Action::Finish { payload }));
        self.wind_down();
    }

    fn in_flight_ended(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.in_flight -= 1;
        }
    }

    /// A worker is through with a chunk; what it left of it waits again.
    fn chunk_ended(&mut self, sent: &Sent) {
        self.in_flight_ended(sent.range.job);
        self.give_back(sent);
    }

    fn give_back(&mut self, sent: &Sent) {
        let left = sent.range.items - sent.settled;
        if left > 0 {
            let first = sent.range.first + u64::from(sent.settled);
            self.requeue(Range { job: sent.range.job, first, items: left });
        }
    }

    fn requeue(&mut self, range: Range) {
        if let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.payload.is_some()) {
            job.queued += u64::from(range.items);
            self.queue.push_front(range);
        }
    }

    /// An item has cost a worker: it is tried again if its terms allow, else it fails.
    fn charge(&mut self, worker: WorkerId, id: JobId, item: u64, phase: Phase) {
        let verdict = match phase {
            Phase::Doomed(Doom::Timeout { limit, ran, .. }) => Verdict::TimedOut { limit, ran },
            Phase::Doomed(Doom::Protocol) => Verdict::Protocol,
            _ => Verdict::Died,
        };
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.payload.is_some()) else { return };
        if job.terms.retries > 0 {
            let attempts = job.attempts.get_or_insert_default().entry(item).or_default();
            *attempts += 1;
            if *attempts <= job.terms.retries {
                self.requeue(Range { job: id, first: item, items: 1 });
                return;
            }
        }
        self.actions.push_back(Action::Fail { worker, job: id, item, verdict });
    }

    /// A worker has room again; it may have had its share.
    fn after_chunk(&mut self, worker: WorkerId) {
        self.full = false;
        let spent = self.config.max_tasks_per_worker.is_some_and(|max| self.workers[worker].served >= max);
        if spent && self.workers[worker].in_flight.is_empty() {
            self.quit(worker);
        }
        if let Some(sent) = self.workers[worker].in_flight.front() {
            let job = sent.range.job;
            self.watch(worker, job);
        }
        self.dispatch();
        self.retire_if_idle(worker);
    }

    /// The worker's front chunk has come up: its first item is due no sooner than a time limit from now.
    fn watch(&mut self, worker: WorkerId, job: JobId) {
        if let Some(limit) = self.jobs.get(job).and_then(|job| job.terms.timeout) {
            let deadline = self.now.saturating_add(limit);
            self.workers[worker].deadline = Some(deadline);
            self.wake_by(deadline);
        }
    }

    fn wake_by(&mut self, at: Nanos) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at)));
    }

    /// Hands the queue out to workers with room.
    fn dispatch(&mut self) {
        while !self.full {
            let Some(range) = self.queue.front().copied() else {
                self.rebalance();
                return;
            };
            let Some(job) = self.jobs.get(range.job).filter(|job| job.payload.is_some()) else {
                self.queue.pop_front();
                continue;
            };
            let terms = job.terms;
            let pace = self.paces[terms.task as usize];
            let want = match terms.chunk_size {
                Some(items) => items,
                None => pace.chunk(job.queued, job.open, self.config.workers),
            };
            let items = want.min(range.items);
            let Some(worker) = self.roomiest(pace.depth(items)) else {
                self.full = true;
                self.call_back();
                return;
            };
            if !self.workers[worker].in_flight.is_empty() {
                self.call_back();
            }
            let allowance = self.config.max_tasks_per_worker.map_or(u64::MAX, |max| max - self.workers[worker].served);
            let items = items.min(u32::try_from(allowance).unwrap_or(u32::MAX));
            self.send(worker, Range { items, ..range }, pace);
        }
    }

    /// The worker with the least before it, if that is less than `depth` chunks; a ready one rather than a starting one,
    /// and the first of equals, whose caches are warm and which may not have gone to sleep yet.
    fn roomiest(&self, depth: usize) -> Option<WorkerId> {
        let mut best = None;
        for (worker, slot) in self.workers.iter().enumerate() {
            if !slot.takes_work() || self.config.max_tasks_per_worker.is_some_and(|max| slot.served >= max) {
                continue;
            }
            if slot.phase == Phase::Starting && self.config.has_initializer {
                continue;
            }
            let load = 2 * slot.in_flight.len() + usize::from(slot.phase == Phase::Starting);
            if load == 0 {
                return Some(worker);
            }
            if slot.in_flight.len() < depth && best.is_none_or(|(least, _)| load < least) {
                best = Some((load, worker));
            }
        }
        best.map(|(_, worker)| worker)
    }

    fn send(&mut self, worker: WorkerId, range: Range, pace: Pace) {
        let front = self.queue.front_mut().expect("the range stems from it");
        front.first += u64::from(range.items);
        front.items -= range.items;
        if front.items == 0 {
            self.queue.pop_front();
        }
        let job = self.jobs.get_mut(range.job).expect("checked by the caller");
        job.queued -= u64::from(range.items);
        job.in_flight += 1;
        let is_urgent = job.terms.urgent;
        let slot = &mut self.workers[worker];
        let seq = slot.next_seq;
        slot.next_seq = seq.wrapping_add(1);
        slot.served += u64::from(range.items);
        let quiet = !is_urgent && !seq.is_multiple_of(WAKE_EVERY) && pace.is_short(range.items);
        slot.in_flight.push_back(Sent { seq, range, settled: 0, recalling: false });
        if slot.in_flight.len() == 1 {
            slot.heard = self.now;
            self.watch(worker, range.job);
        }
        let Range { job, first, items } = range;
        self.actions.push_back(Action::Send { worker, seq, job, first, items, quiet });
    }

    /// Nothing waits. If a worker idles while another has more than it has begun, some of that is taken back.
    fn rebalance(&mut self) {
        if self.unsettled == 0
            || !self.workers.iter().any(|slot| slot.phase == Phase::Ready && slot.in_flight.is_empty())
        {
            return;
        }
        let mut best: Option<(Nanos, WorkerId)> = None;
        for (worker, slot) in self.workers.iter().enumerate() {
            let Some((at, sent)) = slot.last_to_recall() else { continue };
            let fresh = sent.settled == 0 && at > 0;
            let items = sent.range.items - sent.settled;
            if !(fresh || items > 1) || !slot.takes_work() {
                continue;
            }
            let Some(job) = self.jobs.get(sent.range.job) else { continue };
            let pace = self.paces[job.terms.task as usize];
            let waiting: u32 = slot.in_flight.iter().map(|sent| sent.range.items - sent.settled).sum();
            let silence = self.now.saturating_sub(slot.heard);
            let work = pace.time(waiting).unwrap_or(Nanos::MAX).max(if silence >= SILENCE { silence } else { 0 });
            if best.is_none_or(|(most, _)| work > most) {
                best = Some((work, worker));
            }
        }
        let Some((work, worker)) = best else { return };
        if work < RECALL_MIN {
            self.wake_by(self.now.saturating_add(SILENCE));
            return;
        }
        let slot = &mut self.workers[worker];
        let (at, _) = slot.last_to_recall().expect("it was chosen for that");
        let half = at == 0;
        let sent = &mut slot.in_flight[at];
        sent.recalling = true;
        let (seq, items) = (sent.seq, sent.range.items);
        self.actions.push_back(Action::Recall { worker, seq, items, half });
    }

    /// Takes back all that the worker has not begun.
    fn recall_unstarted(&mut self, worker: WorkerId) {
        for sent in self.workers[worker].in_flight.iter_mut().filter(|sent| !sent.recalling) {
            sent.recalling = true;
            let (seq, items) = (sent.seq, sent.range.items);
            self.actions.push_back(Action::Recall { worker, seq, items, half: false });
        }
    }
}

/// Of the chunks too short to wake the host, one in so many does.
const WAKE_EVERY: u32 = 32;
