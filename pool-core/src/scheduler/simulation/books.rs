//! What really happened, written down apart from the scheduler, and the invariants that compare the two.

use std::collections::BTreeMap;

use super::plan::{Plan, Rng};
use crate::scheduler::dispatch::SILENCE;
use crate::scheduler::processes::back_off_pause;
use crate::scheduler::retries::NOT_STARTED_MAX;
use crate::scheduler::{FailureCause, JobSpec, Nanos, Phase, Range, Scheduler, State, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) jobs: Vec<JobBook>,
    pub(super) processes: Vec<ProcessBook>,
    pub(super) now: Nanos,
    /// Whose end is being settled, or was.
    pub(super) buried_last: Option<usize>,
    unsettled: u64,
}

#[derive(Debug)]
pub(super) struct JobBook {
    pub(super) spec: JobSpec,
    pub(super) open: bool,
    pub(super) ended: bool,
    pub(super) cancelled: bool,
    are_calls: bool,
    /// Beyond the last item.
    pub(super) end: u64,
    items: BTreeMap<u64, Item>,
    unsettled: u64,
}

#[derive(Debug, Default)]
struct Item {
    settled: bool,
    /// Runs that came to their end.
    ran: u32,
    /// The latest run: the process, and since when.
    run: Option<(usize, Nanos)>,
    /// Processes that died while it was its turn, or were one too many not to begin it.
    costs: u32,
    /// Of these, the ones that it killed itself, and its panics that were worth another attempt.
    charges: u32,
    /// Processes that were killed since they did not begin it.
    not_started: u32,
    /// It may not be sent before.
    rests_until: Nanos,
    /// It is a call that nobody wants any more.
    cancelled: bool,
    /// A worker had claimed it by then.
    was_claimed: bool,
}

#[derive(Debug, Default)]
pub(super) struct ProcessBook {
    /// Gone, and the scheduler is about to be told.
    pub(super) buried: bool,
    pub(super) killed: bool,
    pub(super) told_to_leave: bool,
    pub(super) ready: bool,
    pub(super) spoke_nonsense: bool,
    /// It had died in an item by then, and nothing else was known against it.
    pub(super) dies_of_nonsense: bool,
    pub(super) is_over_rss: bool,
    /// It wrote nonsense before it was ready, or its initializer took too long.
    pub(super) has_failed_start: bool,
    /// An item of it was found to be over its limit.
    pub(super) was_slow: bool,
    next_seq: u32,
    /// Items sent and not taken back.
    pub(super) share: u64,
    begun: u64,
}

// ---- what happens ---------------------------------------------------------------------------------------------------

impl Books {
    pub(super) fn new() -> Self {
        // A time stamp of 0 stands for none.
        Books { now: 1_000_000, ..Books::default() }
    }

    pub(super) fn submit(&mut self, spec: JobSpec) -> usize {
        let items = BTreeMap::new();
        let (open, ended, cancelled, are_calls) = (true, false, false, false);
        self.jobs.push(JobBook { spec, open, ended, cancelled, are_calls, end: 0, items, unsettled: 0 });
        self.jobs.len() - 1
    }

    pub(super) fn add_items(&mut self, job: usize, first: u64, items: u32) {
        let book = &mut self.jobs[job];
        book.items.extend((first..first + u64::from(items)).map(|item| (item, Item::default())));
        book.end = first + u64::from(items);
        book.unsettled += u64::from(items);
        self.unsettled += u64::from(items);
    }

    pub(super) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    pub(super) fn open_jobs(&self) -> Vec<usize> {
        (0..self.jobs.len()).filter(|&job| self.jobs[job].open).collect()
    }

    pub(super) fn live_jobs(&self) -> Vec<usize> {
        (0..self.jobs.len()).filter(|&job| !self.jobs[job].ended).collect()
    }

    pub(super) fn live_calls(&self) -> Vec<usize> {
        (0..self.jobs.len()).filter(|&job| self.jobs[job].are_calls && !self.jobs[job].ended).collect()
    }

    /// A call of the job that has not ended, if the job is of calls; sometimes none.
    pub(super) fn some_call(&self, job: usize, rng: &mut Rng) -> Option<u64> {
        let book = &self.jobs[job];
        let calls: Vec<_> = book.items.iter().filter(|(_, item)| !item.settled).map(|(number, _)| *number).collect();
        (book.are_calls && !book.ended && rng.permille(800)).then(|| rng.pick(&calls))
    }

    pub(super) fn cancel_call(&mut self, job: usize, item: u64) {
        self.item(job, item).cancelled = true;
        // The last one ends the job.
        let book = &mut self.jobs[job];
        book.cancelled |= book.unsettled == 1;
    }

    /// Whatever is cancelled in this part of a chunk was claimed before.
    pub(super) fn keeps(&mut self, job: usize, first: u64, items: u32) {
        self.jobs[job].items.range_mut(first..first + u64::from(items)).for_each(|(_, item)| item.was_claimed = true);
    }

    pub(super) fn has_ended(&self, job: usize, item: u64) -> bool {
        self.jobs[job].ended || self.jobs[job].items[&item].settled
    }

    fn item(&mut self, job: usize, item: u64) -> &mut Item {
        self.jobs[job].items.get_mut(&item).expect("nothing is run or settled that was not accepted")
    }

    pub(super) fn begin(&mut self, process: usize, job: usize, item: u64, share: Option<u64>) {
        self.runs_once(job, item);
        self.processes[process].begun += 1;
        let begun = self.processes[process].begun;
        assert!(share.is_none_or(|share| begun <= share), "a process has begun {begun} items of {share:?}");
        let now = self.now;
        self.item(job, item).run = Some((process, now));
    }

    pub(super) fn ran(&mut self, job: usize, item: u64) {
        self.item(job, item).ran += 1;
    }

    pub(super) fn cost(&mut self, job: usize, item: u64) {
        if let Some(item) = self.jobs[job].items.get_mut(&item) {
            item.costs += 1;
        }
    }

    /// A process is gone that did not begin the item. It costs an attempt if others have not, either.
    pub(super) fn never_began(&mut self, job: usize, item: u64) {
        if let Some(item) = self.jobs[job].items.get_mut(&item) {
            item.not_started += 1;
            item.costs += u32::from(item.not_started >= NOT_STARTED_MAX);
        }
    }

    /// An item panics; it is tried again only if its job asks for that, and then as often as after a death.
    pub(super) fn panicked(&mut self, job: usize, item: u64, is_retried: bool) {
        let spec = self.jobs[job].spec;
        assert!(spec.retry_panics || !is_retried, "a panic is retried unasked: item {item} of job {job}");
        let entry = self.item(job, item);
        entry.run = None;
        assert!(!entry.cancelled || !is_retried, "item {item} of job {job} was cancelled, and is tried again");
        if !spec.retry_panics || entry.cancelled {
            return;
        }
        entry.costs += 1;
        assert!(is_retried || entry.costs > spec.retries, "item {item} of job {job} was not tried again: {spec:?}");
        if is_retried {
            self.charges_few(job, item);
            assert!(self.item(job, item).charges <= spec.retries, "one attempt too many for item {item} of job {job}");
        }
    }

    pub(super) fn value(&mut self, job: usize, item: u64) {
        self.is_real(job, item);
        // Nobody looks at the value of what was cancelled.
        if !self.item(job, item).cancelled {
            self.settles_once(job, item);
        }
    }

    pub(super) fn fail(&mut self, job: usize, item: u64, cause: FailureCause) {
        self.is_due(job, item, cause);
        self.settles_once(job, item);
    }

    pub(super) fn finish(&mut self, job: usize) {
        self.ends_once(job);
        self.is_complete(job);
    }

    pub(super) fn abort(&mut self, job: usize, cause: FailureCause, state: State) {
        self.ends_once(job);
        self.is_called_for(job, cause, state);
        let book = &mut self.jobs[job];
        book.open = false;
        self.unsettled -= std::mem::take(&mut book.unsettled);
    }
}

impl JobBook {
    pub(super) fn are_calls(&mut self) {
        self.are_calls = true;
        self.open = false;
    }
}

// ---- invariants, checked as things happen ---------------------------------------------------------------------------

impl Books {
    /// An item is settled once, and not after its job has ended.
    fn settles_once(&mut self, job: usize, item: u64) {
        assert!(!self.jobs[job].ended, "item {item} of job {job}, which has ended, is settled");
        let settled = std::mem::replace(&mut self.item(job, item).settled, true);
        assert!(!settled, "item {item} of job {job} is settled twice");
        self.jobs[job].unsettled -= 1;
        self.unsettled -= 1;
    }

    /// What is delivered as the outcome of a run stems from a run that came to its end.
    fn is_real(&mut self, job: usize, item: u64) {
        assert!(self.item(job, item).ran > 0, "item {item} of job {job} has a value and was never run");
    }

    /// An item fails only when more workers have died of it than its retries allow, and for the reason given.
    ///
    /// A process that is killed by the clock may end its item before the signal arrives: then the next one is taken for
    /// it.
    fn is_due(&mut self, job: usize, item: u64, cause: FailureCause) {
        let spec = self.jobs[job].spec;
        let is_cancelled = cause == FailureCause::Cancelled;
        assert_eq!(self.item(job, item).cancelled, is_cancelled, "{cause:?} of {item} of job {job}");
        if is_cancelled {
            return;
        }
        if let FailureCause::NotStarted { workers } = cause {
            // Time may pass in which processes that could go on do not, as on a machine that is far too busy.
            assert!(workers == NOT_STARTED_MAX && spec.timeout.is_some(), "{cause:?} of {spec:?}");
            return;
        }
        let costs = self.item(job, item).costs;
        assert!(costs > spec.retries, "{cause:?} after {costs} deaths: item {item} of job {job}, {spec:?}");
        let process = self.buried_last.expect("it died of something");
        match cause {
            FailureCause::TimedOut { limit, ran } => {
                assert!(spec.timeout == Some(limit) && ran >= limit, "{cause:?} of {spec:?}");
                assert!(self.processes[process].was_slow, "{cause:?}, and no item of {process} took so long");
            }
            FailureCause::Protocol => assert!(self.processes[process].spoke_nonsense),
            _ => assert_eq!(cause, FailureCause::Died),
        }
    }

    /// An item is begun again only after the process that had begun it is gone.
    fn runs_once(&mut self, job: usize, item: u64) {
        let run = self.item(job, item).run;
        let buried = run.is_none_or(|(process, _)| self.processes[process].buried);
        assert!(buried, "item {item} of job {job} is run again while its first run may still count");
        let Item { settled, was_claimed, .. } = *self.item(job, item);
        assert!(!settled || was_claimed, "item {item} of job {job} is run after it was settled");
    }

    /// An item that kills its worker again and again is given up; before the next attempt it rests.
    pub(super) fn charges_few(&mut self, job: usize, item: u64) {
        let (now, retries) = (self.now, self.jobs[job].spec.retries);
        let entry = self.item(job, item);
        entry.charges += 1;
        entry.rests_until = now + back_off_pause(entry.charges);
        assert!(entry.charges <= retries + 1, "item {item} of job {job} has killed {} workers", entry.charges);
    }

    /// No item is sent before its rest is over.
    pub(super) fn are_rested(&self, job: usize, first: u64, items: u32) {
        let mut sent = self.jobs[job].items.range(first..first + u64::from(items));
        let early = sent.find(|(_, item)| item.rests_until > self.now);
        assert!(early.is_none(), "tried again too soon: {early:?} of job {job}");
    }

    /// A job ends once.
    fn ends_once(&mut self, job: usize) {
        assert!(!std::mem::replace(&mut self.jobs[job].ended, true), "job {job} ends twice");
    }

    /// A job that finishes has all its items, and no more can come.
    fn is_complete(&self, job: usize) {
        let book = &self.jobs[job];
        assert!(!book.open, "job {job} is finished while it is open");
        assert!(book.items.values().all(|item| item.settled), "job {job} is finished without some items");
    }

    /// A job is aborted only for a reason that there is.
    fn is_called_for(&self, job: usize, cause: FailureCause, state: State) {
        let called_for = match cause {
            FailureCause::Cancelled => self.jobs[job].cancelled,
            FailureCause::Terminated => state == State::Terminated,
            FailureCause::Broken => state == State::Broken,
            _ => false,
        };
        assert!(called_for, "job {job} is aborted as {cause:?} while the pool is {state:?}");
    }

    /// Chunks go to a process that is there and stays, are numbered without gaps, and keep to its share.
    pub(super) fn sends_well(&mut self, process: Option<usize>, seq: u32, items: u32, max: Option<u64>) {
        let book = &mut self.processes[process.expect("a chunk goes to a process that is there")];
        assert!(!book.killed && !book.told_to_leave, "a chunk goes to a worker that is to leave");
        assert_eq!(seq, book.next_seq, "numbers are consecutive");
        assert!(items > 0, "an empty chunk");
        book.next_seq += 1;
        book.share += u64::from(items);
        assert!(max.is_none_or(|max| book.share <= max), "{} items for a worker that may have {max:?}", book.share);
    }

    /// At the end nothing is left of any job.
    pub(super) fn all_ended(&self) {
        assert_eq!(self.live_jobs(), [], "a job never ended");
        assert_eq!(self.unsettled, 0);
    }
}

// ---- invariants, checked after every step ---------------------------------------------------------------------------

/// What the shell knows of a worker's place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) process: Option<usize>,
    pub(super) launching: bool,
    /// Processes in a row that ended before they were ready, of themselves.
    pub(super) failures: u32,
}

pub(super) fn check(scheduler: &Scheduler<usize>, books: &Books, plan: &Plan, places: &[Place]) {
    counts_agree(scheduler, books);
    each_item_is_in_one_place(scheduler, books);
    counters_are_true(scheduler);
    no_hands_are_idle(scheduler);
    nobody_is_surplus(scheduler);
    clock_is_set(scheduler, plan);
    places_are_manned(scheduler, places);
    breaks_when_it_must(scheduler, plan, places);
    finished_is_empty(scheduler, books, places);
}

/// The scheduler counts the same items as unsettled as the books.
fn counts_agree(scheduler: &Scheduler<usize>, books: &Books) {
    assert_eq!(scheduler.unsettled(), books.unsettled());
    for job in scheduler.jobs.ids() {
        let Some(&record) = scheduler.record(job) else { continue };
        assert_eq!(scheduler.jobs.get(job).map(|job| job.unsettled), Some(books.jobs[record].unsettled));
    }
}

/// Every unsettled item waits in the queue or for another attempt, or is with one worker.
fn each_item_is_in_one_place(scheduler: &Scheduler<usize>, books: &Books) {
    let sent = scheduler.workers.iter().flat_map(|state| &state.in_flight).map(|sent| {
        let Range { job, first, items } = sent.range;
        Range { job, first: first + u64::from(sent.settled), items: items - sent.settled }
    });
    let waiting = scheduler.queue.iter().chain(scheduler.retries.values().flatten()).copied();
    let ranges = waiting.chain(sent).filter(|range| range.items > 0);
    let mut ranges: Vec<_> =
        ranges.filter_map(|range| Some((*scheduler.record(range.job)?, range.first, range.end()))).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "items in two places: {pair:?}");
    }
    let placed: u64 = ranges.iter().map(|(_, first, end)| end - first).sum();
    let jobs = scheduler.jobs.ids().into_iter().filter(|id| scheduler.record(*id).is_some());
    let records = jobs.flat_map(|id| scheduler.jobs.get(id).expect("its id was listed").records.values());
    let cancelled = records.filter(|record| record.cancelled).count() as u64;
    assert_eq!(placed, books.unsettled() + cancelled, "items are in no place, or settled ones still in one");
    let (_, first, end) = ranges.first().copied().unwrap_or_default();
    let is_settled = |item: &Item| item.settled && !item.cancelled;
    let settled =
        ranges.first().map(|&(job, ..)| books.jobs[job].items.range(first..end).filter(|(_, item)| is_settled(item)));
    assert_eq!(settled.map_or(0, Iterator::count), 0, "a settled item is to be run");
}

/// What a job counts of its items is so.
fn counters_are_true(scheduler: &Scheduler<usize>) {
    for id in scheduler.jobs.ids() {
        let job = scheduler.jobs.get(id).expect("its id was listed");
        let in_flight = scheduler.workers.iter().flat_map(|state| &state.in_flight).filter(|sent| sent.range.job == id);
        assert_eq!(job.in_flight as usize, in_flight.count());
        let ranges = scheduler.queue.iter().filter(|range| range.job == id);
        let queued: u64 = ranges.map(|range| u64::from(range.items) - scheduler.count_stale(*range)).sum();
        assert!(job.record.is_none() || job.queued == queued, "{} queued of {queued}", job.queued);
    }
    assert_eq!(scheduler.stale, scheduler.queue.iter().map(|range| scheduler.count_stale(*range)).sum::<u64>());
}

/// No worker is idle while items wait.
fn no_hands_are_idle(scheduler: &Scheduler<usize>) {
    let waiting = scheduler.queue.iter().any(|range| scheduler.record(range.job).is_some());
    let may_work = |phase| phase == Phase::Ready || phase == Phase::Starting && !scheduler.config.has_initializer;
    let idle = scheduler.workers.iter().position(|state| may_work(state.phase) && state.in_flight.is_empty());
    assert!(!waiting || idle.is_none(), "worker {idle:?} has nothing while items wait");
}

/// While the pool is open or has work, every worker has a process, or one is on its way, or the clock will see to it.
fn places_are_manned(scheduler: &Scheduler<usize>, places: &[Place]) {
    if scheduler.state() != State::Open && (scheduler.state() != State::Closed || scheduler.unsettled() == 0) {
        return;
    }
    for (worker, place) in places.iter().enumerate().take(scheduler.workers()) {
        let waits = matches!(scheduler.workers[worker].phase, Phase::BackingOff(_) | Phase::Resting);
        assert!(place.process.is_some() || place.launching || waits, "worker {worker} was not replaced");
    }
}

/// Nobody takes work in a place that there should not be.
fn nobody_is_surplus(scheduler: &Scheduler<usize>) {
    let surplus = scheduler.workers.iter().skip(scheduler.workers()).find(|state| state.takes_work());
    assert!(surplus.is_none(), "more than {} workers: {surplus:?}", scheduler.workers());
}

/// Who runs an item or an initializer with a time limit is watched, and so is who was told to leave and has nothing left
/// to run; the clock is set for them, for those who back off, and for the next attempts of items.
fn clock_is_set(scheduler: &Scheduler<usize>, plan: &Plan) {
    let is_set_for = |due| scheduler.wake_at().is_some_and(|at| at <= due);
    let retry = scheduler.retries.keys().next();
    assert!(retry.is_none_or(|&due| is_set_for(due)), "an attempt is due at {retry:?}");
    for state in &scheduler.workers {
        let front = state.in_flight.front().and_then(|sent| scheduler.jobs.get(sent.range.job));
        let is_timed = front.is_some_and(|job| job.spec.timeout.is_some());
        let has_nothing = state.in_flight.iter().all(|sent| sent.settled == sent.range.items);
        let due = match state.phase {
            Phase::BackingOff(until) => until,
            Phase::Starting if plan.initializer_timeout.is_some() => {
                state.deadline.expect("its initializer has a limit")
            }
            Phase::Leaving | Phase::Retiring if has_nothing => state.deadline.expect("it may be stopped"),
            Phase::Starting | Phase::Ready | Phase::Leaving if is_timed => {
                state.deadline.expect("its item has a limit")
            }
            _ => continue,
        };
        assert!(is_set_for(due), "due at {due}: {state:?}");
    }
}

/// A worker is told to leave only if it is one too many, has had its share, or is worn out or idle.
pub(super) fn leaves_for_a_reason(scheduler: &Scheduler<usize>, plan: &Plan, worker: WorkerId, process: &ProcessBook) {
    let is_surplus = worker >= scheduler.workers() || scheduler.state() == State::Closed;
    let has_its_share = plan.max_tasks_per_worker.is_some_and(|max| process.share >= max);
    let is_idle = plan.idle_timeout.is_some() && scheduler.current_chunk(worker).is_none();
    assert!(is_surplus || has_its_share || process.is_over_rss || is_idle, "{worker} is told to leave: {process:?}");
}

/// If a caller's doing ends the pool, the clock is set: no process ends with it that the shell would hear of.
pub(super) fn end_is_noticed(scheduler: &Scheduler<usize>) {
    assert!(!scheduler.is_finished() || scheduler.wake_at().is_some(), "nobody notices that the pool is finished");
}

/// Once the clock has ticked, nobody is idle while items wait behind a worker that has been silent for long.
pub(super) fn idle_help_the_silent(scheduler: &Scheduler<usize>) {
    let has_idle = scheduler.workers.iter().any(|state| state.phase == Phase::Ready && state.in_flight.is_empty());
    let states = scheduler.workers.iter().filter(|state| state.takes_work() && scheduler.now - state.heard >= SILENCE);
    let mut behind = states.flat_map(|state| state.in_flight.iter().skip(1));
    let waits =
        behind.find(|sent| sent.range.items > 0 && !sent.recalling && scheduler.record(sent.range.job).is_some());
    assert!(!has_idle || waits.is_none(), "a worker is idle while {waits:?} waits behind another item");
}

/// Once the clock has ticked, nothing waits for an attempt that it may have.
pub(super) fn nothing_is_overdue(scheduler: &Scheduler<usize>) {
    let first = scheduler.retries.keys().next();
    assert!(first.is_none_or(|&due| due > scheduler.now), "an attempt was due at {first:?}");
}

/// The pool is broken when a worker could not be started more often than allowed, and only then.
fn breaks_when_it_must(scheduler: &Scheduler<usize>, plan: &Plan, places: &[Place]) {
    let hopeless = places.iter().any(|place| place.failures > plan.restart_limit);
    match scheduler.state() {
        State::Open | State::Closed => assert!(!hopeless, "workers are started again without limit"),
        State::Broken => assert!(hopeless, "the pool is broken without need"),
        State::Terminated => {}
    }
}

/// When the pool is finished there is nobody and nothing left.
fn finished_is_empty(scheduler: &Scheduler<usize>, books: &Books, places: &[Place]) {
    if scheduler.is_finished() {
        assert!(!places.iter().any(|place| place.process.is_some() || place.launching), "finished with workers");
        books.all_ended();
        assert!(scheduler.jobs.ids().is_empty(), "jobs are left in the slab");
    }
}
