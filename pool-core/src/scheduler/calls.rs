//! Calls: items that have nothing to do with each other, and travel together only to save hand-overs.
//!
//! No call may suffer from its neighbours, so a chunk of them is claimed, run and answered item by item.

use std::collections::VecDeque;

use super::Scheduler;
use super::flow::{FlowId, Standing};
use super::interface::{Action, Begun, FailureCause, JobId, JobSpec, State, WorkerId};
use super::job::JobEntry;
use super::tuning::{CALLS_PER_CHUNK_MAX, REPLY_SILENCE_NS, STALE_ITEMS_MAX};
use super::worker::{KillReason, Phase, Range, SentChunk, WorkerState};

/// A worker with so many chunks need not be sent the newest calls before these make a chunk.
const DEPTH_ENOUGH: usize = 2;

impl<P> Scheduler<P> {
    /// A job of one call, its item 0, which others may [join](Scheduler::join). The pool must be open.
    #[inline]
    pub(crate) fn call(&mut self, spec: JobSpec, record: impl FnOnce(JobId) -> P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        // Never open: a job of one call is complete from the start, and those that join it keep it going.
        let id = self.jobs.insert(|id| JobEntry { open: false, ..JobEntry::new(as_calls(spec), record(id)) });
        self.join(id, false);
        id
    }

    /// The number that a further call would have, if the job consists of calls with these options and is not done.
    #[inline]
    pub(crate) fn next_call(&self, id: JobId, spec: JobSpec) -> Option<u64> {
        let job = self.jobs.get(id).filter(|job| job.record.is_some() && job.spec.takes_call(spec))?;
        Some(job.end)
    }

    /// The [next call](Scheduler::next_call) of the job has come. With `beside` its arguments follow those of the call
    /// before, so that one chunk can hold both.
    #[inline]
    pub(crate) fn join(&mut self, id: JobId, beside: bool) {
        let job = self.jobs.get_mut(id).expect("it takes another call");
        let item = job.end;
        job.end += 1;
        job.unsettled += 1;
        job.queued += 1;
        self.unsettled += 1;
        let (queued, priority, is_urgent) = (job.queued, job.spec.priority, job.spec.urgent);
        let pace = self.tasks[job.spec.task as usize].pace;
        let (flow_id, flow) = match job.flow.as_deref_mut() {
            Some(flow) => (FlowId::Job(id), flow),
            None => (FlowId::Calls(priority), &mut self.calls[priority as usize]),
        };
        match flow.queue.back_mut() {
            Some(last) if beside && last.job == id && last.end() == item => last.items += 1,
            // Other calls came between; the order of submission counts.
            _ => flow.queue.push_back(Range { job: id, first: item, items: 1 }),
        }
        if flow.standing == Standing::Idle {
            self.note_queued(flow_id, priority);
        }
        if !is_urgent
            && queued < u64::from(CALLS_PER_CHUNK_MAX)
            && pace.is_short(CALLS_PER_CHUNK_MAX)
            && self.can_wait()
        {
            // The next thread that takes replies in, or the next tick, hands it out.
            self.wake_by(self.now.saturating_add(REPLY_SILENCE_NS));
        } else {
            self.dispatch();
        }
    }

    /// Whether the newest calls, which are short, may wait for more to make a chunk: no worker needs them now.
    #[inline]
    fn can_wait(&self) -> bool {
        // A hand-over now would wake a worker for one short call; a moment later it serves many.
        let is_served = |state: &WorkerState| state.in_flight.len() >= DEPTH_ENOUGH || state.phase == Phase::Vacant;
        self.full || self.workers.values().all(is_served)
    }

    /// Ends one call, which must not have ended: a queued one is skipped when its turn comes, a sent one that has not begun
    /// is taken back, a running one costs its worker. False if the job had ended.
    pub(crate) fn cancel_call(&mut self, id: JobId, item: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return false };
        // The last one: the whole job ends, and its entry with it.
        if job.unsettled == 1 {
            return self.cancel(id, true);
        }
        job.records.entry(item).or_default().cancelled = true;
        // Failed before the recall: the caller need not wait for the worker.
        self.actions.push_back(Action::Fail { worker: None, job: id, item, cause: FailureCause::Cancelled });
        if !self.take_from_worker(id, item) {
            self.leave_waiting(id, item);
        }
        true
    }

    /// Takes the cancelled item back from the worker that was sent it, or kills the worker if it runs the item; false if no
    /// worker has it.
    fn take_from_worker(&mut self, id: JobId, item: u64) -> bool {
        let holds =
            |sent: &&mut SentChunk| sent.range.job == id && (sent.next_item()..sent.range.end()).contains(&item);
        let mut workers = self.workers.iter_mut();
        let found = workers.find_map(|(worker, state)| Some((worker, state.in_flight.iter_mut().find(holds)?)));
        let Some((worker, sent)) = found else { return false };
        self.actions.push_back(sent.ask_back(worker, false));
        // If the recall comes too late the item may be running already, which the probe finds out.
        self.actions.push_back(Action::Probe { worker });
        true
    }

    /// Counts the cancelled item, which no worker has, as stale. It is skipped when its turn comes: a search would take the
    /// longer the more is pending.
    fn leave_waiting(&mut self, id: JobId, item: u64) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        // A resting item is in no queue, so neither count has it.
        if !job.records.get(&item).is_some_and(|record| record.rests) {
            job.queued -= 1;
            self.stale += 1;
            self.sweep_if_stale();
        }
    }

    /// Sweeps stale items out of the queue when they are the greater part of it: submitting and cancelling while all workers
    /// are busy must not take more and more memory.
    pub(super) fn sweep_if_stale(&mut self) {
        if self.stale <= self.unsettled + STALE_ITEMS_MAX {
            return;
        }
        // Everything stale goes below, so the count starts anew.
        self.stale = 0;
        for priority in 0..self.calls.len() {
            let queue = std::mem::take(&mut self.calls[priority].queue);
            self.calls[priority].queue = self.swept(queue);
        }
        for id in self.jobs.ids() {
            let flow = self.jobs.get_mut(id).filter(|job| job.spec.calls).and_then(|job| job.flow.as_deref_mut());
            let Some(queue) = flow.map(|flow| std::mem::take(&mut flow.queue)) else { continue };
            let queue = self.swept(queue);
            if let Some(flow) = self.jobs.get_mut(id).and_then(|job| job.flow.as_deref_mut()) {
                flow.queue = queue;
            }
        }
    }

    /// The queue without its stale items.
    fn swept(&mut self, queue: VecDeque<Range>) -> VecDeque<Range> {
        let mut swept = VecDeque::new();
        for mut range in queue {
            let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { continue };
            while let Some(item) = job.first_cancelled(range) {
                job.records.remove(&item);
                let (before, after) = range.without(item);
                swept.extend((before.items > 0).then_some(before));
                range = after;
            }
            swept.extend((range.items > 0).then_some(range));
        }
        swept
    }

    /// The stale items of this part of the queue.
    #[cfg(test)]
    pub(super) fn count_stale(&self, range: Range) -> u64 {
        let job = self.jobs.get(range.job).filter(|job| job.record.is_some());
        job.map_or(range.items.into(), |job| job.count_cancelled(range))
    }

    /// Kills the worker if the item that it runs is cancelled. One that is claimed and not begun is probed again later.
    pub(super) fn probe_cancelled(&mut self, worker: WorkerId, begun: Option<Begun>) {
        let Some(sent) = self.workers[worker].in_flight.front().filter(|_| self.is_at_cancelled(worker)) else {
            return;
        };
        let is_cancelled = |begun: &Begun| {
            let item = sent.range.first + u64::from(begun.item);
            begun.is_in(sent) && self.jobs.get(sent.range.job).is_some_and(|job| job.has_cancelled(item))
        };
        // By the worker's own word, since the host cannot know which claimed item it is at.
        if let Some(begun) = begun.filter(is_cancelled) {
            let (job, seq, item) = (sent.range.job, begun.seq, begun.item);
            self.end_running(worker, job, seq, Some(item), KillReason::ItemCancelled { begun });
        } else {
            // A time limit that ends sooner keeps its probe.
            self.probe_by(worker, self.now.saturating_add(REPLY_SILENCE_NS));
        }
    }

    /// Kills the worker if it is at a chunk of a job that was cancelled together with its running items. The worker may
    /// have claimed items of a later chunk without the host knowing, so this is checked again when that chunk comes up.
    #[inline]
    pub(super) fn kill_if_cancelled(&mut self, worker: WorkerId) {
        let Some(sent) = self.workers[worker].in_flight.front().filter(|sent| !sent.is_settled()) else { return };
        if self.jobs.get(sent.range.job).is_some_and(|job| job.kills_running) {
            let (job, seq) = (sent.range.job, sent.seq);
            self.end_running(worker, job, seq, None, KillReason::Cancelled { seq });
        }
    }

    /// Whether the chunk that the worker is at has cancelled items.
    #[inline]
    pub(super) fn is_at_cancelled(&self, worker: WorkerId) -> bool {
        let Some(sent) = self.workers[worker].in_flight.front() else { return false };
        let job = self.jobs.get(sent.range.job);
        job.is_some_and(|job| job.last_cancelled(sent.next_item()..sent.range.end()).is_some())
    }
}

/// The options of calls, which have no chunk size.
fn as_calls(spec: JobSpec) -> JobSpec {
    // So calls with different chunk sizes join one job.
    JobSpec { calls: true, chunk_size: None, ..spec }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{SchedulerConfig, Seq};
    use super::*;

    /// Two workers, ready, and that an item of the only task takes so long.
    fn scheduler(item: u64) -> Scheduler<()> {
        let config = SchedulerConfig::of(2);
        let mut scheduler = Scheduler::new(config, 1);
        for worker in [0, 1].map(WorkerId) {
            scheduler.launched(worker);
            scheduler.ready(worker);
        }
        scheduler.call(JobSpec::default(), |_| ());
        scheduler.replied(WorkerId(0), Seq(0), 1, true, item);
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
        assert_eq!(
            sent(&mut scheduler, 4 + 3 * CALLS_PER_CHUNK_MAX + 5),
            [1, 1, 1, 1, CALLS_PER_CHUNK_MAX, CALLS_PER_CHUNK_MAX, CALLS_PER_CHUNK_MAX]
        );
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
        let before = scheduler.calls[1].queue.len();
        for _ in 0..1000 {
            let id = scheduler.call(JobSpec::default(), |_| ());
            assert!(scheduler.cancel_call(id, 0));
            let id = scheduler.submit(JobSpec::default(), |_| ());
            scheduler.add_items(id, 0, 100);
            assert!(scheduler.cancel(id, true));
            let most = before + (scheduler.unsettled() + STALE_ITEMS_MAX) as usize + 1;
            assert!(scheduler.calls[1].queue.len() <= most, "{} ranges", scheduler.calls[1].queue.len());
            assert!(scheduler.turns[1].len() <= 8, "{} turns", scheduler.turns[1].len());
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
            let most = (unsettled + 2 + STALE_ITEMS_MAX) as usize;
            assert!(job.records.len() <= most, "{} records", job.records.len());
            assert!(scheduler.calls[1].queue.len() <= 2 * most, "{} ranges", scheduler.calls[1].queue.len());
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
            scheduler.calls[1].queue.back_mut().expect("they wait").first += 1;
            scheduler.calls[1].queue.back_mut().expect("they wait").items -= 1;
            assert!(scheduler.defer_retry(id, 0));
            if waits_in_queue {
                scheduler.set_now(u64::MAX);
                scheduler.retry_due();
            }
            assert!(scheduler.cancel_call(id, 0));
            scheduler.failed(id, 0);
            scheduler.set_now(u64::MAX);
            scheduler.retry_due();
            let job = scheduler.jobs.get(id).expect("its other call waits");
            assert_eq!((job.queued, job.unsettled), (1, 1));
            let waits = |range: &&Range| range.job == id && job.first_cancelled(**range).is_none();
            assert_eq!(scheduler.calls[1].queue.iter().filter(waits).map(|range| range.first).collect::<Vec<_>>(), [1]);
        }
    }

    /// The worker has begun the second chunk while the host still waits for the end of the first.
    #[test]
    fn a_cancelled_item_of_a_chunk_that_comes_up_later_costs_its_worker() {
        let mut scheduler = scheduler(1_000_000);
        let id = scheduler.submit(JobSpec { chunk_size: Some(1), ..JobSpec::default() }, |_| ());
        scheduler.add_items(id, 0, 4);
        while scheduler.next_action().is_some() {}
        let worker = WorkerId(0);
        let in_flight = &scheduler.workers[worker].in_flight;
        let (first, second) = (in_flight[0].seq, in_flight[1].seq);
        scheduler.replied(worker, first, 1, false, 0);
        assert!(scheduler.cancel(id, true));
        let mut kills = Vec::new();
        let mut carry_out = |scheduler: &mut Scheduler<()>| {
            while let Some(action) = scheduler.next_action() {
                match action {
                    Action::Recall { worker, seq, items, .. } => scheduler.recalled(worker, seq, items),
                    Action::Kill { worker } => kills.push(worker.0),
                    _ => {}
                }
            }
            kills.clone()
        };
        assert_eq!(carry_out(&mut scheduler), [1], "only the other worker is known to be at an item");
        scheduler.replied(worker, first, 0, true, 1000);
        assert_eq!(carry_out(&mut scheduler), [1, 0], "chunk {second:?}");
    }

    #[test]
    fn long_calls_go_one_by_one_to_workers_with_room() {
        assert_eq!(sent(&mut scheduler(1_000_000), 100), [1, 1, 1, 1]);
    }
}
