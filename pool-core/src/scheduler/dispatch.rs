//! Handing items out to workers.

use super::Scheduler;
use super::capacity::Capacity;
use super::flow::{Flow, FlowId};
use super::interface::{Action, JobId, JobSpec, Priority, Wake, WorkerId};
use super::pace::Pace;
use super::tuning::{
    CALLS_PER_CHUNK_MAX, CLAIM_NS, CONTENDED_MAP_AHEAD_NS, QUANTUM_NS, REPLY_SILENCE_NS, SHORT_CHUNK_NS,
    SHORT_CHUNKS_PER_WAKE,
};
use super::worker::{Phase, Range, SentChunk};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// Hands queued items out to workers with room.
    #[inline]
    pub(super) fn dispatch(&mut self) {
        if self.holds_back {
            return;
        }
        let (chunk_ns, is_remote) = (self.chunk_ns(), self.is_remote());
        while !self.full {
            let Some((flow, range, preferred)) = self.next_flow() else {
                self.rebalance();
                return;
            };
            let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else {
                // The job has ended. Its items are skipped here, since a search through the queue at its end would cost
                // more.
                self.stale -= u64::from(range.items);
                self.running_flow(flow).queue.pop_front();
                continue;
            };
            let range = match job.first_cancelled(range) {
                None => range,
                // A chunk is one run of items, so it ends before a cancelled one.
                Some(item) if item > range.first => range.without(item).0,
                Some(item) => {
                    job.records.remove(&item);
                    self.stale -= 1;
                    self.running_flow(flow).take_front(1);
                    continue;
                }
            };
            let (spec, queued, is_open) = (&job.spec, job.queued, job.open);
            let is_contended = self.now < self.contended_until;
            let task = &self.tasks[spec.task as usize];
            let may_pass = || !task.has_parked() || job.flow.as_ref().is_some_and(|flow| flow.may_pass);
            if spec.max_concurrent.is_some_and(|most| task.occupied >= most || !may_pass()) {
                // Leaves the turns, or it would hold up flows of other tasks.
                let spec = *spec;
                self.park_or_pass(flow, spec);
                continue;
            }
            let pace = task.pace;
            let worth = pace.workers_worth(queued, self.config.workers, self.narrow_workers);
            let narrow = job.narrow(self.first_ready_at, pace, self.narrow_workers);
            let may_use = worth.max(narrow.workers(self.now));
            // Not beside others of any priority: these wait behind it for the idle workers.
            let is_alone = || self.turns.iter().filter(|turns| !turns.is_empty()).count() == 1;
            // A map that is worth all workers uses them all at once.
            let is_narrow = may_use < self.config.workers && !is_contended && is_alone();
            let want = match spec.chunk_size {
                // Items that travel together may run at once on another machine.
                _ if is_remote && spec.max_concurrent.is_some() => 1,
                // A chunk size that the user chose does not entitle a map to more than its share.
                Some(items) if is_contended => items.min(pace.items_in(QUANTUM_NS)),
                Some(items) => items,
                // A thread waits for this call: another one in its chunk would only delay it.
                None if spec.calls && spec.urgent => 1,
                // Further calls may follow the last one, so the end of the queue is no reason for smaller chunks.
                None => {
                    let is_open = is_open || spec.calls && pace.is_short(CALLS_PER_CHUNK_MAX);
                    pace.chunk(chunk_ns, queued, is_open, worth)
                }
            };
            // A worker claims so many one by one, so each may still go to another worker until it begins.
            let want = if spec.calls { want.min(CALLS_PER_CHUNK_MAX) } else { want };
            let items = want.min(range.items);
            let capacity = if is_contended { Capacity::contended(spec) } else { Capacity::alone(pace, items, spec) };
            let jumping = (spec.calls && is_contended).then_some(spec.priority);
            // A flow that is alone keeps to the first idle workers, so that few are awake.
            let preferred = preferred.filter(|_| is_contended);
            let found = if is_narrow {
                let may_wake = job.wakes_another || self.awake().count() < may_use;
                self.roomiest_of_few(capacity, may_wake, pace.is_known())
            } else {
                self.roomiest(capacity, preferred)
            };
            let Some(worker) = found else {
                self.full = true;
                if is_narrow {
                    self.is_narrow = true;
                    // Without a time before the first worker is ready: that event looks again.
                    let next = narrow.next_step(self.now);
                    if next < Nanos::MAX {
                        self.wake_by(next);
                    }
                    // For items behind a worker that is silent: one that is idle need not wait for replies of others.
                    self.rebalance();
                    return;
                }
                // Looking through all workers again at each submission would cost more than the submission.
                self.freed = None;
                if is_contended {
                    // A chunk may take longer than was expected, and then gives way, too.
                    self.wake_by(self.now.saturating_add(REPLY_SILENCE_NS));
                }
                self.call_back();
                return;
            };
            // No idle worker is left, so a resting one is worth its launch.
            if !self.workers[worker].in_flight.is_empty() {
                self.call_back();
            }
            // Before the call is sent, so that it is the first in the ring behind the claimed items.
            if let Some(priority) = jumping
                && std::mem::take(&mut self.running_flow(flow).jumps)
            {
                self.make_way(worker, priority);
            }
            // The worker is replaced exactly after so many items, also if a chunk would hold more.
            let allowance = self.config.max_tasks_per_worker.map_or(u64::MAX, |max| max - self.workers[worker].served);
            let items = items.min(u32::try_from(allowance).unwrap_or(u32::MAX));
            self.send(worker, Range { items, ..range }, pace, is_contended, is_narrow);
        }
    }

    /// The flow that has its turn.
    #[inline]
    fn running_flow(&mut self, flow: FlowId) -> &mut Flow {
        self.flow_mut(flow).expect("its turn came since its job goes on")
    }

    /// The worker that the next call goes to, if that one has nothing to do.
    #[inline]
    pub(crate) fn idle_worker(&mut self) -> Option<WorkerId> {
        let last_worker = self.calls[Priority::Normal as usize].last_worker;
        let is_contended = self.is_contended();
        self.roomiest(Capacity::Chunks(1), last_worker.filter(|_| is_contended))
    }

    /// Items that a chunk of the job has, if there are enough.
    pub(crate) fn chunk_items(&self, id: JobId) -> u32 {
        let Some(JobSpec { task, chunk_size, .. }) = self.jobs.get(id).map(|job| job.spec) else { return 1 };
        chunk_size.unwrap_or_else(|| {
            let pace = self.tasks[task as usize].pace;
            pace.chunk(self.chunk_ns(), u64::MAX, true, self.config.workers)
        })
    }

    /// Whether the worker may be sent items at all.
    #[inline]
    pub(super) fn takes_items(&self, worker: WorkerId) -> bool {
        let served = self.workers[worker].served;
        self.is_sure_to_run(worker) && self.config.max_tasks_per_worker.is_none_or(|max| served < max)
    }

    /// Whether the worker runs all that it is sent, unless it dies of it.
    #[inline]
    pub(super) fn is_sure_to_run(&self, worker: WorkerId) -> bool {
        let state = &self.workers[worker];
        // Without an initializer a starting worker is sure to take work soon; with one it may fail, and its items would wait
        // in vain.
        state.takes_work() && !(state.phase == Phase::Starting && self.config.has_initializer)
    }

    #[inline]
    fn send(&mut self, worker: WorkerId, range: Range, pace: Pace, is_contended: bool, is_narrow: bool) {
        let job = self.jobs.get_mut(range.job).expect("checked by the caller");
        job.queued -= u64::from(range.items);
        // That was for the items of this chunk.
        job.wakes_another = false;
        job.in_flight += 1;
        let JobSpec { urgent: is_urgent, bulk: is_bulk, calls: are_calls, priority, task, .. } = job.spec;
        let is_last = job.queued == 0 && !job.open;
        // An item that is tried again travels alone.
        let attempt = job.attempt_at(range.first);
        // With nothing else pending one wake-up is due in any case, and the end of this chunk is soon enough for it.
        let is_alone = self.unsettled == 1;
        // Items of unknown time may take long.
        let time = pace.time(range.items).unwrap_or(QUANTUM_NS * u64::from(range.items));
        // Alone it takes nothing from others, and a debt from then would keep it waiting when they come.
        self.in_flight[priority as usize] += 1;
        let flow = job.flow.as_deref_mut().unwrap_or(&mut self.calls[priority as usize]);
        flow.note_sent(worker, range.items, if is_contended { time } else { 0 });
        self.tasks[task as usize].occupied += 1;
        let state = &mut self.workers[worker];
        let seq = state.next_seq;
        state.next_seq = seq.next();
        state.served += u64::from(range.items);
        // Saturates: a pace may come from a lie, and the sum of many must not wrap.
        state.ahead = state.ahead.saturating_add(time);
        // Behind other flows even a short one takes a while.
        let waits = is_contended && state.ahead - time > SHORT_CHUNK_NS;
        let brief = !waits && pace.time(range.items).is_none_or(|time| time < SHORT_CHUNK_NS);
        // Half of what the worker may have before it is done when the host comes round.
        let is_halfway = || {
            let depth =
                if is_contended { CONTENDED_MAP_AHEAD_NS / time.max(1) } else { pace.depth(range.items, true) as u64 };
            depth < 2 || u64::from(seq.0).is_multiple_of(depth / 2)
        };
        // Few workers are sent few chunks, and the rest waits for the replies to these.
        let wake = if is_bulk && !is_last && !is_narrow && !is_halfway() {
            Wake::NoOne
        } else if !is_urgent
            && !is_alone
            && pace.is_short(if are_calls { 1 } else { range.items })
            && !seq.0.is_multiple_of(SHORT_CHUNKS_PER_WAKE)
        {
            Wake::LeaderOnly
        } else {
            Wake::Anyone
        };
        // A claim costs the worker a fence, and binds the items: so many that the fence is cheap, so few that idle
        // workers get the rest.
        let claim = if range.items > 1 { pace.items_in(CLAIM_NS) } else { 1 };
        let sent_at = self.now;
        let (settled, recalling, was_recalled, occupies) = (0, false, false, true);
        // A flow that is alone takes nothing from others, so it owes nothing when one comes.
        let charged = is_contended.then_some(time);
        let sent = SentChunk { seq, range, settled, recalling, was_recalled, occupies, time, charged, sent_at };
        self.append_chunk(worker, sent);
        let Range { job, first, items } = range;
        self.actions.push_back(Action::Send { worker, seq, job, first, items, attempt, wake, brief, claim });
    }

    /// The worker has this chunk, too, behind all others.
    #[inline]
    pub(super) fn append_chunk(&mut self, worker: WorkerId, sent: SentChunk) {
        let job = sent.range.job;
        let state = &mut self.workers[worker];
        state.in_flight.push_back(sent);
        if state.in_flight.len() == 1 {
            self.busy.insert(worker);
            self.idle.remove(worker);
            // The item can begin only now, so its limit counts from here.
            state.heard = self.now;
            self.watch(worker, job);
        }
    }

    /// Launches one of the workers that rest, since there is more work than idle workers.
    pub(super) fn call_back(&mut self) {
        // Asked first: without an idle timeout no worker rests, and the search would be for nothing.
        if self.config.idle_timeout.is_some()
            && let Some(worker) = self.workers.ids().find(|worker| self.workers[*worker].phase == Phase::Resting)
        {
            self.launch(worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::interface::{SchedulerConfig, Seq};
    use super::super::tuning::{NARROW_NS, NARROW_WORKERS};
    use super::*;

    /// So many ready workers, and that an item of the only task takes so long, if it is known.
    fn scheduler(workers: usize, item: Option<Nanos>) -> Scheduler<()> {
        let mut scheduler = Scheduler::new(SchedulerConfig::of(workers), 1);
        for worker in scheduler.workers.ids() {
            scheduler.launched(worker);
            scheduler.ready(worker);
        }
        for seq in 0..item.map_or(0, |_| 64) {
            scheduler.call(JobSpec::default(), |_| ());
            scheduler.replied(WorkerId(0), Seq(seq), 1, true, item.expect("it is known"));
        }
        while scheduler.next_action().is_some() {}
        scheduler
    }

    fn map(scheduler: &mut Scheduler<()>, items: u32) {
        let id = scheduler.submit(JobSpec { bulk: true, ..JobSpec::default() }, |_| ());
        scheduler.add_items(id, 0, items);
    }

    fn working(scheduler: &Scheduler<()>) -> usize {
        scheduler.workers.values().filter(|state| !state.in_flight.is_empty()).count()
    }

    #[test]
    fn a_short_map_wakes_few_of_many_workers() {
        let mut scheduler = scheduler(64, Some(1));
        map(&mut scheduler, 1_000_000);
        assert_eq!(working(&scheduler), NARROW_WORKERS, "a millisecond of work");
        let mut scheduler = self::scheduler(64, Some(10));
        map(&mut scheduler, 1_000_000);
        assert!((15..40).contains(&working(&scheduler)), "ten of it: {}", working(&scheduler));
    }

    #[test]
    fn a_map_whose_items_come_slowly_stays_with_few() {
        let mut scheduler = scheduler(64, Some(1));
        let id = scheduler.submit(JobSpec { bulk: true, ..JobSpec::default() }, |_| ());
        // The replies come eight blocks later.
        let mut out = VecDeque::new();
        for block in 0..80 {
            scheduler.set_now(block * 100_000);
            scheduler.add_items(id, block * 10_000, 10_000);
            while let Some(action) = scheduler.next_action() {
                if let Action::Send { worker, seq, items, .. } = action {
                    out.push_back((block + 8, worker, seq, items));
                }
            }
            while let Some((_, worker, seq, items)) = out.pop_front_if(|(due, ..)| *due <= block) {
                scheduler.replied(worker, seq, items, true, items.into());
            }
            assert!(working(&scheduler) <= NARROW_WORKERS, "less than a millisecond of work, which comes in eight");
        }
    }

    #[test]
    fn a_short_map_wakes_no_more_workers_than_there_are_cpus() {
        let mut scheduler = scheduler(64, Some(1)).on_cpus(2);
        map(&mut scheduler, 500_000);
        assert_eq!(working(&scheduler), 2);
    }

    #[test]
    fn a_worker_that_lacked_a_cpu_wakes_no_others() {
        let mut scheduler = scheduler(64, Some(10));
        // A chunk of ten thousand items that took a time slice longer.
        scheduler.tasks[0].pace.learn(10_000, 4_000_000);
        map(&mut scheduler, 100_000);
        assert_eq!(working(&scheduler), NARROW_WORKERS);
    }

    #[test]
    fn a_long_map_wakes_all_at_once() {
        let mut scheduler = scheduler(64, Some(1_000_000));
        map(&mut scheduler, 1000);
        assert_eq!(working(&scheduler), 64);
    }

    #[test]
    fn what_a_silent_worker_loses_goes_to_an_idle_one_while_others_reply() {
        let mut scheduler = scheduler(64, Some(1000));
        map(&mut scheduler, 4000);
        while scheduler.next_action().is_some() {}
        let before = working(&scheduler);
        // Replies of the first two come; the others are silent, as if they lacked a CPU.
        for (now, at) in [(900_000, 0), (1_100_000, 1)] {
            scheduler.tick(now);
            let worker = WorkerId(at);
            let SentChunk { seq, range, .. } = scheduler.workers[worker].in_flight.front().expect("it has work");
            scheduler.replied(worker, *seq, range.items, true, 200_000);
        }
        let mut recalls = 0;
        while let Some(action) = scheduler.next_action() {
            if let Action::Recall { worker, seq, .. } = action {
                recalls += 1;
                assert!(recalls < 64, "the same items come back again and again");
                scheduler.recalled(worker, seq, 1);
            }
        }
        assert!(recalls > 0 && working(&scheduler) > before, "{recalls} recalls");
    }

    #[test]
    fn a_map_of_unknown_items_wakes_all_after_a_millisecond() {
        let mut scheduler = scheduler(64, None);
        map(&mut scheduler, 1000);
        assert_eq!(working(&scheduler), NARROW_WORKERS);
        let at = scheduler.wake_at().expect("the clock is set for the others");
        assert_eq!(at, NARROW_NS);
        scheduler.tick(at);
        assert_eq!(working(&scheduler), 64);
    }

    #[test]
    fn a_call_beside_a_map_that_fills_its_room_goes_out_at_once() {
        let mut scheduler = scheduler(2, Some(1000));
        map(&mut scheduler, 100_000);
        for _ in 0..2 {
            let call = scheduler.call(JobSpec { calls: true, ..JobSpec::default() }, |_| ());
            let mut sent = None;
            while let Some(action) = scheduler.next_action() {
                match action {
                    Action::Send { worker, seq, job, .. } if job == call => sent = Some((worker, seq)),
                    // The workers have begun nothing.
                    Action::Recall { worker, seq, .. } => scheduler.recalled(worker, seq, 0),
                    _ => {}
                }
            }
            let (worker, seq) = sent.expect("without a reply of the map before it");
            while let Some(front) = scheduler.workers[worker].in_flight.front().filter(|front| front.seq.0 <= seq.0) {
                let (seq, Range { items, .. }) = (front.seq, front.range);
                scheduler.replied(worker, seq, items, true, 1000 * Nanos::from(items));
            }
        }
    }

    #[test]
    fn a_call_beside_a_map_that_has_just_begun_finds_an_idle_worker() {
        for priority in [Priority::Normal, Priority::High] {
            let mut scheduler = scheduler(64, None);
            map(&mut scheduler, 1000);
            let call = scheduler.call(JobSpec { priority, calls: true, ..JobSpec::default() }, |_| ());
            assert_eq!(scheduler.jobs.get(call).map(|job| job.queued), Some(0), "{priority:?}");
        }
    }
}
