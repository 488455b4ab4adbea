//! The books: a record of all events that is kept apart from the scheduler, and the invariants that compare the two.

use std::collections::BTreeMap;

use super::plan::Rng;
use crate::scheduler::tuning::{NOT_STARTED_MAX, back_off_pause};
use crate::scheduler::{FailureCause, JobSpec, Seq, State, WorkerId};
use crate::units::Nanos;

#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) jobs: Vec<JobBook>,
    pub(super) processes: Vec<ProcessBook>,
    pub(super) now: Nanos,
    pub(super) longest_item: Nanos,
    /// Whose end is being settled, or was.
    pub(super) buried_last: Option<usize>,
    pub(super) unsettled: u64,
}

#[derive(Debug)]
pub(super) struct JobBook {
    pub(super) spec: JobSpec,
    pub(super) open: bool,
    pub(super) ended: bool,
    pub(super) cancelled: bool,
    /// It was cancelled together with its running items.
    pub(super) kills_running: bool,
    are_calls: bool,
    /// Time that workers spent on its items.
    pub(super) worker_time: Nanos,
    /// Beyond the last item.
    pub(super) end: u64,
    pub(super) items: BTreeMap<u64, Item>,
    pub(super) unsettled: u64,
    /// The workers of a broadcast, in the order of its items.
    pub(super) pins: Vec<Pin>,
}

/// The worker that an item is for, and its process, as soon as there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin {
    pub(super) worker: WorkerId,
    pub(super) process: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) settled: bool,
    /// Runs that came to their end.
    ran: u32,
    /// The latest run: the process, and since when.
    run: Option<(usize, Nanos)>,
    /// Processes that died while it was its turn, or were one too many not to begin it.
    costs: u32,
    /// Of these, the ones that it killed itself, and its panics that were worth another attempt.
    blames: u32,
    /// Processes that were killed since they did not begin it.
    not_started: u32,
    /// It may not be sent before.
    rests_until: Nanos,
    /// It is a call that nobody wants any more.
    pub(super) cancelled: bool,
    /// It waited when all that waited was cancelled.
    dropped: bool,
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
    next_seq: Seq,
    /// Items sent and not taken back.
    pub(super) share: u64,
    begun: u64,
}

/// A worker's place as the shell knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) process: Option<usize>,
    pub(super) launching: bool,
    /// Processes in a row that ended before they were ready, of themselves.
    pub(super) failures: u32,
}

// ---- events ---------------------------------------------------------------------------------------------------------

impl Books {
    pub(super) fn new() -> Self {
        // A time stamp of 0 stands for none.
        Books { now: 1_000_000, ..Books::default() }
    }

    pub(super) fn submit(&mut self, spec: JobSpec) -> usize {
        let items = BTreeMap::new();
        let (open, ended, cancelled, kills_running, are_calls) = (true, false, false, false, false);
        let worker_time = 0;
        self.jobs.push(JobBook {
            spec,
            open,
            ended,
            cancelled,
            kills_running,
            are_calls,
            worker_time,
            end: 0,
            items,
            unsettled: 0,
            pins: Vec::new(),
        });
        self.jobs.len() - 1
    }

    pub(super) fn add_items(&mut self, job: usize, first: u64, items: u32) {
        let book = &mut self.jobs[job];
        book.items.extend((first..first + u64::from(items)).map(|item| (item, Item::default())));
        book.end = first + u64::from(items);
        book.unsettled += u64::from(items);
        self.unsettled += u64::from(items);
    }

    /// The job has an item for each of these workers.
    pub(super) fn pin(&mut self, job: usize, pins: Vec<Pin>) {
        self.jobs[job].open = false;
        self.add_items(job, 0, pins.len() as u32);
        self.jobs[job].pins = pins;
    }

    /// The worker has a process, for which items that waited are from now on.
    pub(super) fn pins_get(&mut self, worker: WorkerId, process: usize) {
        let pins = self.jobs.iter_mut().filter(|job| !job.ended).flat_map(|job| &mut job.pins);
        let waiting = pins.filter(|pin| pin.worker == worker && pin.process.is_none());
        waiting.for_each(|pin| pin.process = Some(process));
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
        book.kills_running |= book.cancelled;
    }

    /// All that waits is cancelled, except items that are with workers. How many these are.
    pub(super) fn cancel_pending(&mut self, are_sent: impl Fn(usize, u64) -> bool) -> u64 {
        let mut dropped = 0;
        for (number, job) in self.jobs.iter_mut().enumerate().filter(|(_, job)| !job.ended) {
            for (_, item) in job.items.iter_mut().filter(|(at, item)| !item.settled && !are_sent(number, **at)) {
                let is_new = !std::mem::replace(&mut item.dropped, true);
                dropped += u64::from(is_new);
                item.cancelled = job.are_calls;
                // A call fails at once, and is counted then; an item of a map is pending no more.
                self.unsettled -= u64::from(is_new && !job.are_calls);
            }
        }
        dropped
    }

    /// Items of this part of a chunk that are cancelled were claimed before.
    pub(super) fn keeps(&mut self, job: usize, first: u64, items: u32) {
        self.jobs[job].items.range_mut(first..first + u64::from(items)).for_each(|(_, item)| item.was_claimed = true);
    }

    /// The item, if it runs, is to be killed with its worker.
    pub(super) fn is_doomed(&self, job: usize, item: u64) -> bool {
        self.jobs[job].kills_running || self.jobs[job].items[&item].cancelled
    }

    pub(super) fn has_ended(&self, job: usize, item: u64) -> bool {
        self.jobs[job].ended || self.jobs[job].items[&item].settled
    }

    fn item(&mut self, job: usize, item: u64) -> &mut Item {
        self.jobs[job].items.get_mut(&item).expect("nothing is run or settled that was not accepted")
    }

    pub(super) fn begin(&mut self, process: usize, job: usize, item: u64, share: Option<u64>) {
        self.runs_once(job, item);
        if self.jobs[job].spec.pinned {
            // It does not count for the share.
            self.runs_where_it_must(process, job, item);
            return;
        }
        self.processes[process].begun += 1;
        let begun = self.processes[process].begun;
        assert!(share.is_none_or(|share| begun <= share), "a process has begun {begun} items of {share:?}");
        self.runs_in(process, job, item);
    }

    fn runs_in(&mut self, process: usize, job: usize, item: u64) {
        let now = self.now;
        self.item(job, item).run = Some((process, now));
    }

    /// An item of a broadcast is run once, by the process that its worker had, or was about to have.
    fn runs_where_it_must(&mut self, process: usize, job: usize, item: u64) {
        let pin = self.jobs[job].pins[item as usize];
        assert_eq!(pin.process, Some(process), "item {item} of broadcast {job} is run by another process");
        assert!(self.item(job, item).run.is_none(), "item {item} of broadcast {job} is run twice");
        self.runs_in(process, job, item);
    }

    pub(super) fn ran(&mut self, job: usize, item: u64) {
        let (_, since) = self.item(job, item).run.expect("it has begun");
        let time = self.now - since;
        self.jobs[job].worker_time += time;
        self.longest_item = self.longest_item.max(time);
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
            self.blames_few(job, item);
            assert!(self.item(job, item).blames <= spec.retries, "one attempt too many for item {item} of job {job}");
        }
    }

    pub(super) fn value(&mut self, job: usize, item: u64) {
        self.is_real(job, item);
        // The value of a cancelled item is dropped.
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
        let dropped = book.items.values().filter(|item| item.dropped && !item.settled).count() as u64;
        self.unsettled -= std::mem::take(&mut book.unsettled) - if book.are_calls { 0 } else { dropped };
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

    /// A value that is delivered stems from a run that came to its end.
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
        if cause == FailureCause::NotRun {
            let pin = self.jobs[job].pins[item as usize];
            let is_gone = pin.process.is_none_or(|process| self.processes[process].buried);
            assert!(is_gone, "item {item} of broadcast {job} fails, and {pin:?} is there");
            assert!(self.item(job, item).run.is_none(), "item {item} of broadcast {job} was begun");
            return;
        }
        let costs = self.item(job, item).costs;
        assert!(
            spec.pinned || costs > spec.retries,
            "{cause:?} after {costs} deaths: item {item} of job {job}, {spec:?}"
        );
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
        let Item { settled, was_claimed, dropped, .. } = *self.item(job, item);
        assert!(!dropped, "item {item} of job {job} is run after all that waited was cancelled");
        assert!(!settled || was_claimed, "item {item} of job {job} is run after it was settled");
    }

    /// An item that kills its worker again and again is given up; before the next attempt it rests.
    pub(super) fn blames_few(&mut self, job: usize, item: u64) {
        let (now, retries) = (self.now, self.jobs[job].spec.retries);
        let entry = self.item(job, item);
        entry.blames += 1;
        entry.rests_until = now + back_off_pause(entry.blames);
        assert!(entry.blames <= retries + 1, "item {item} of job {job} has killed {} workers", entry.blames);
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
            FailureCause::Cancelled if self.jobs[job].cancelled => true,
            FailureCause::Cancelled => {
                let mut items = self.jobs[job].items.values();
                !self.jobs[job].open && items.all(|item| item.settled || item.dropped)
            }
            FailureCause::Terminated => state == State::Terminated,
            FailureCause::Broken => state == State::Broken,
            _ => false,
        };
        assert!(called_for, "job {job} is aborted as {cause:?} while the pool is {state:?}");
    }

    /// Chunks go to a process that is there and stays, are numbered without gaps, and keep to its share.
    pub(super) fn sends_well(&mut self, process: Option<usize>, seq: Seq, items: u32, counted: u32, max: Option<u64>) {
        let book = &mut self.processes[process.expect("a chunk goes to a process that is there")];
        assert!(!book.killed && !book.told_to_leave, "a chunk goes to a worker that is to leave");
        assert_eq!(seq, book.next_seq, "numbers are consecutive");
        assert!(items > 0, "an empty chunk");
        book.next_seq = seq.next();
        book.share += u64::from(counted);
        assert!(max.is_none_or(|max| book.share <= max), "{} items for a worker that may have {max:?}", book.share);
    }

    /// At the end nothing is left of any job.
    pub(super) fn all_ended(&self) {
        assert!(self.live_jobs().is_empty(), "a job never ended");
        assert_eq!(self.unsettled, 0);
    }
}
