//! Calls: items that have nothing to do with each other, and travel together only to save hand-overs.
//!
//! No call may suffer from its neighbours, so a chunk of them is claimed, run and answered item by item.

use super::dispatch::SILENCE;
use super::{
    Action, Begun, FailureCause, JobEntry, JobId, JobSpec, KillReason, Phase, Range, Scheduler, SentChunk, State,
    WorkerId,
};

/// Calls in one chunk: as many as a worker claims one by one, so that none that has not begun is lost to the others.
pub(crate) const CALLS_MAX: u32 = 31;

/// Items in the queue that nobody is to run, beyond as many as are pending, that are not worth the clearing up.
const STALE_MAX: u64 = if cfg!(test) { 3 } else { 1024 };

/// Chunks that a worker has before it if it can spare what is submitted until that makes a chunk, too.
const DEPTH_ENOUGH: usize = 2;

impl<P> Scheduler<P> {
    /// A job of one call, its item 0, which others may [join](Scheduler::join). The pool must be open.
    #[inline]
    pub(crate) fn call(&mut self, spec: JobSpec, record: impl FnOnce(JobId) -> P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        let id = self.jobs.insert(|id| JobEntry { open: false, ..JobEntry::new(as_calls(spec), record(id)) });
        self.join(id, false);
        id
    }

    /// The number of a further call, if the job is of calls under these terms and not done.
    #[inline]
    pub(crate) fn next_call(&self, id: JobId, spec: JobSpec) -> Option<u64> {
        let job = self.jobs.get(id).filter(|job| job.record.is_some() && job.spec == as_calls(spec))?;
        Some(job.end)
    }

    /// The [next call](Scheduler::next_call) of the job is there; `beside` the one before, so that one chunk can hold
    /// both.
    #[inline]
    pub(crate) fn join(&mut self, id: JobId, beside: bool) {
        let job = self.jobs.get_mut(id).expect("it takes another call");
        let item = job.end;
        job.end += 1;
        job.unsettled += 1;
        job.queued += 1;
        self.unsettled += 1;
        match self.queue.back_mut() {
            Some(last) if beside && last.job == id && last.end() == item => last.items += 1,
            _ => self.queue.push_back(Range { job: id, first: item, items: 1 }),
        }
        if self.can_wait(id) {
            // Whoever takes replies in next hands it out, or who looks at the clock.
            self.wake_by(self.now.saturating_add(SILENCE));
        } else {
            self.dispatch();
        }
    }

    /// Whether the newest calls of the job may wait for more to make a chunk: they are short, and no worker needs them
    /// now.
    #[inline]
    fn can_wait(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(id) else { return false };
        !job.spec.urgent
            && job.queued < u64::from(CALLS_MAX)
            && self.paces[job.spec.task as usize].is_short(CALLS_MAX)
            && self.workers.iter().all(|state| state.in_flight.len() >= DEPTH_ENOUGH || state.phase == Phase::Vacant)
    }

    /// Ends one call, which must not have ended: if it waits it is left out, if it was sent and has not begun it is taken
    /// back, if it runs its worker is killed. False if the job had ended.
    pub(crate) fn cancel_call(&mut self, id: JobId, item: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return false };
        if job.unsettled == 1 {
            return self.cancel(id, true);
        }
        job.records.entry(item).or_default().cancelled = true;
        self.actions.push_back(Action::Fail { worker: None, job: id, item, cause: FailureCause::Cancelled });
        if !self.take_from_worker(id, item) {
            self.leave_waiting(id, item);
        }
        true
    }

    /// Has the worker that was sent the struck item give it back, or be killed if it runs it; false if there is none.
    fn take_from_worker(&mut self, id: JobId, item: u64) -> bool {
        let holds =
            |sent: &&mut SentChunk| sent.range.job == id && (sent.next_item()..sent.range.end()).contains(&item);
        let mut workers = self.workers.iter_mut().enumerate();
        let found = workers.find_map(|(worker, state)| Some((worker, state.in_flight.iter_mut().find(holds)?)));
        let Some((worker, sent)) = found else { return false };
        sent.ask_back();
        let (seq, items) = (sent.seq, sent.range.items);
        self.actions.push_back(Action::Recall { worker, seq, items, half: false });
        self.actions.push_back(Action::Probe { worker });
        true
    }

    /// No worker has the struck item: it stays where it waits, and is left out when its turn comes. To look for it would take
    /// the longer the more is pending.
    fn leave_waiting(&mut self, id: JobId, item: u64) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if !job.records.get(&item).is_some_and(|record| record.rests) {
            job.queued -= 1;
            self.stale += 1;
            self.sweep_if_stale();
        }
    }

    /// Clears the queue of what nobody is to run, when that has become the greater part: what is submitted and cancelled
    /// while all workers are busy must not take more and more memory.
    pub(super) fn sweep_if_stale(&mut self) {
        if self.stale <= self.unsettled + STALE_MAX {
            return;
        }
        self.stale = 0;
        for mut range in std::mem::take(&mut self.queue) {
            let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { continue };
            while let Some(item) = job.first_struck(range) {
                job.records.remove(&item);
                let (before, after) = range.without(item);
                self.queue.extend((before.items > 0).then_some(before));
                range = after;
            }
            self.queue.extend((range.items > 0).then_some(range));
        }
    }

    /// How many items of this part of the queue nobody is to run.
    #[cfg(test)]
    pub(super) fn count_stale(&self, range: Range) -> u64 {
        let job = self.jobs.get(range.job).filter(|job| job.record.is_some());
        let records = job.map(|job| job.records.range(range.first..range.end()));
        records.map_or(range.items.into(), |records| records.filter(|(_, record)| record.cancelled).count() as u64)
    }

    /// Kills the worker if the item that it runs is struck. One that it has claimed and not begun is looked at again.
    pub(super) fn probe_cancelled(&mut self, worker: WorkerId, begun: Option<Begun>) {
        let Some(sent) = self.workers[worker].in_flight.front().filter(|_| self.is_at_cancelled(worker)) else {
            return;
        };
        let is_cancelled = |begun: &Begun| {
            let item = sent.range.first + u64::from(begun.item);
            begun.is_in(sent) && self.jobs.get(sent.range.job).is_some_and(|job| job.has_cancelled(item))
        };
        if let Some(begun) = begun.filter(is_cancelled) {
            self.kill(worker, KillReason::ItemCancelled { begun });
        } else {
            let at = self.now.saturating_add(SILENCE);
            self.look_again(worker, self.workers[worker].deadline.map_or(at, |deadline| deadline.min(at)));
        }
    }

    /// Kills the worker if it is at a chunk whose job was cancelled with what runs. A worker may have claimed an item of
    /// a chunk that is not its first as far as the host has heard, so this is asked again when that chunk comes up.
    #[inline]
    pub(super) fn kill_if_cancelled(&mut self, worker: WorkerId) {
        let Some(sent) = self.workers[worker].in_flight.front().filter(|sent| !sent.is_settled()) else { return };
        if self.jobs.get(sent.range.job).is_some_and(|job| job.kills_running) {
            let seq = sent.seq;
            self.kill(worker, KillReason::Cancelled { seq });
        }
    }

    /// Whether the chunk that the worker is at has struck items.
    #[inline]
    pub(super) fn is_at_cancelled(&self, worker: WorkerId) -> bool {
        let Some(sent) = self.workers[worker].in_flight.front() else { return false };
        let job = self.jobs.get(sent.range.job);
        job.is_some_and(|job| job.last_cancelled(sent.next_item()..sent.range.end()).is_some())
    }
}

/// How large a chunk is to be is a matter of maps.
fn as_calls(spec: JobSpec) -> JobSpec {
    JobSpec { calls: true, chunk_size: None, ..spec }
}

#[cfg(test)]
mod tests {
    use super::super::{Nanos, SchedulerConfig};
    use super::*;

    /// Two workers, ready, and that an item of the only task takes so long.
    fn scheduler(item: u64) -> Scheduler<()> {
        let config = SchedulerConfig {
            workers: 2,
            max_tasks_per_worker: None,
            restart_limit: 3,
            idle_timeout: None,
            has_initializer: false,
            initializer_timeout: None,
        };
        let mut scheduler = Scheduler::new(config, 1);
        for worker in 0..2 {
            scheduler.launched(worker);
            scheduler.ready(worker);
        }
        scheduler.call(JobSpec::default(), |_| ());
        scheduler.replied(0, 0, 1, true, item);
        while scheduler.next_action().is_some() {}
        scheduler
    }

    /// Submits so many calls, and tells how many each chunk has that is sent meanwhile.
    fn sent(scheduler: &mut Scheduler<()>, calls: u32) -> Vec<u32> {
        let id = scheduler.call(JobSpec::default(), |_| ());
        (1..calls).for_each(|_| scheduler.join(id, true));
        let actions = std::iter::from_fn(|| scheduler.next_action());
        let items = |action| if let Action::Send { items, .. } = action { Some(items) } else { None };
        actions.filter_map(items).collect()
    }

    #[test]
    fn short_calls_go_as_many_at_a_time_as_can() {
        let mut scheduler = scheduler(100);
        assert_eq!(sent(&mut scheduler, 4 + 3 * CALLS_MAX + 5), [1, 1, 1, 1, CALLS_MAX, CALLS_MAX, CALLS_MAX]);
    }

    /// All workers are busy, with calls of another job behind.
    fn busy_scheduler() -> Scheduler<()> {
        let mut scheduler = scheduler(1_000_000);
        let _ = sent(&mut scheduler, 10);
        assert!(scheduler.full);
        scheduler
    }

    #[test]
    fn jobs_that_are_cancelled_while_all_workers_are_busy_leave_nothing_behind() {
        let mut scheduler = busy_scheduler();
        let before = scheduler.queue.len();
        for _ in 0..1000 {
            let id = scheduler.call(JobSpec::default(), |_| ());
            assert!(scheduler.cancel_call(id, 0));
            let id = scheduler.submit(JobSpec::default(), |_| ());
            scheduler.add_items(id, 0, 100);
            assert!(scheduler.cancel(id, true));
            assert!(scheduler.queue.len() <= before + 5, "{} ranges", scheduler.queue.len());
        }
    }

    #[test]
    fn calls_that_are_cancelled_while_they_wait_leave_nothing_behind() {
        let mut scheduler = busy_scheduler();
        let unsettled = scheduler.unsettled();
        let id = scheduler.call(JobSpec::default(), |_| ());
        for number in 1..1000 {
            scheduler.join(id, number % 31 != 0);
            assert!(scheduler.cancel_call(id, number));
            scheduler.failed(id, number);
            let job = scheduler.jobs.get(id).expect("its first call waits");
            assert_eq!((job.queued, job.unsettled, scheduler.unsettled()), (1, 1, unsettled + 1));
            let most = (unsettled + 2 + STALE_MAX) as usize;
            assert!(job.records.len() <= most, "{} records", job.records.len());
            assert!(scheduler.queue.len() <= 2 * most, "{} ranges", scheduler.queue.len());
        }
    }

    /// A call that waits for its next attempt, and then among others, when it is cancelled.
    #[test]
    fn calls_that_are_cancelled_between_two_attempts_are_not_run_again() {
        for waits_in_queue in [false, true] {
            let mut scheduler = busy_scheduler();
            let spec = JobSpec { retries: 1, task: 0, ..JobSpec::default() };
            let id = scheduler.call(spec, |_| ());
            scheduler.join(id, true);
            let job = scheduler.jobs.get_mut(id).expect("two calls wait");
            job.queued -= 1;
            scheduler.queue.back_mut().expect("they wait").first += 1;
            scheduler.queue.back_mut().expect("they wait").items -= 1;
            assert!(scheduler.defer_retry(id, 0));
            if waits_in_queue {
                scheduler.set_now(Nanos::MAX);
                scheduler.retry_what_is_due();
            }
            assert!(scheduler.cancel_call(id, 0));
            scheduler.failed(id, 0);
            scheduler.set_now(Nanos::MAX);
            scheduler.retry_what_is_due();
            let job = scheduler.jobs.get(id).expect("its other call waits");
            assert_eq!((job.queued, job.unsettled), (1, 1));
            let waits = |range: &&Range| range.job == id && job.first_struck(**range).is_none();
            assert_eq!(scheduler.queue.iter().filter(waits).map(|range| range.first).collect::<Vec<_>>(), [1]);
        }
    }

    /// The worker has begun the second chunk while the host still waits for the end of the first.
    #[test]
    fn a_cancelled_item_of_a_chunk_that_comes_up_later_costs_its_worker() {
        let mut scheduler = scheduler(1_000_000);
        let id = scheduler.submit(JobSpec { chunk_size: Some(1), ..JobSpec::default() }, |_| ());
        scheduler.add_items(id, 0, 4);
        while scheduler.next_action().is_some() {}
        let (first, second) = (scheduler.workers[0].in_flight[0].seq, scheduler.workers[0].in_flight[1].seq);
        scheduler.replied(0, first, 1, false, 0);
        assert!(scheduler.cancel(id, true));
        let mut kills = Vec::new();
        let mut carry_out = |scheduler: &mut Scheduler<()>| {
            while let Some(action) = scheduler.next_action() {
                match action {
                    Action::Recall { worker, seq, items, .. } => scheduler.recalled(worker, seq, items),
                    Action::Kill { worker } => kills.push(worker),
                    _ => {}
                }
            }
            kills.clone()
        };
        assert_eq!(carry_out(&mut scheduler), [1], "only the other worker is known to be at an item");
        scheduler.replied(0, first, 0, true, 1000);
        assert_eq!(carry_out(&mut scheduler), [1, 0], "chunk {second}");
    }

    #[test]
    fn long_calls_go_one_by_one_to_whoever_has_room() {
        assert_eq!(sent(&mut scheduler(1_000_000), 100), [1, 1, 1, 1]);
    }
}
