//! Handing the queue out to workers, and taking back chunks that another worker would run sooner.

use super::Scheduler;
use super::interface::{Action, JobId, JobSpec, Seq, Wake, WorkerId};
use super::pace::Pace;
use super::tuning::{CALLS_PER_CHUNK_MAX, RECALL_MIN_NS, REPLY_SILENCE_NS, SHORT_CHUNK_NS, SHORT_CHUNKS_PER_WAKE};
use super::worker::{Phase, Range, SentChunk};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// Hands the queue out to workers with room.
    #[inline]
    pub(super) fn dispatch(&mut self) {
        while !self.full {
            let Some(range) = self.queue.front().copied() else {
                self.rebalance();
                return;
            };
            let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else {
                self.stale -= u64::from(range.items);
                self.queue.pop_front();
                continue;
            };
            let range = match job.first_cancelled(range) {
                None => range,
                Some(item) if item > range.first => range.without(item).0,
                Some(item) => {
                    job.records.remove(&item);
                    self.stale -= 1;
                    self.take_front(1);
                    continue;
                }
            };
            let spec = job.spec;
            let pace = self.paces[spec.task as usize];
            let want = match spec.chunk_size {
                Some(items) => items,
                None if spec.calls && spec.urgent => 1,
                // Further calls may follow the last one, so the end of the queue is no reason for smaller chunks.
                None => {
                    let is_open = job.open || spec.calls && pace.is_short(CALLS_PER_CHUNK_MAX);
                    pace.chunk(job.queued, is_open, self.config.workers)
                }
            };
            let want = if spec.calls { want.min(CALLS_PER_CHUNK_MAX) } else { want };
            let items = want.min(range.items);
            let Some(worker) = self.roomiest(pace.depth(items, spec.bulk)) else {
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

    /// The worker that the next chunk goes to, if that one has nothing to do.
    #[inline]
    pub(crate) fn idle_worker(&self) -> Option<WorkerId> {
        self.roomiest(1)
    }

    /// Items that a chunk of the job has, if there are enough.
    pub(crate) fn chunk_items(&self, id: JobId) -> u32 {
        let Some(JobSpec { task, chunk_size, .. }) = self.jobs.get(id).map(|job| job.spec) else { return 1 };
        chunk_size.unwrap_or_else(|| self.paces[task as usize].chunk(u64::MAX, true, self.config.workers))
    }

    /// The worker with the fewest chunks, if these are fewer than `depth`. A ready one comes before a starting one, and the
    /// first of equals before the others, since its caches are warm and it may still be awake.
    #[inline]
    fn roomiest(&self, depth: usize) -> Option<WorkerId> {
        let mut best = None;
        for (worker, state) in self.workers.iter() {
            if !state.takes_work() || self.config.max_tasks_per_worker.is_some_and(|max| state.served >= max) {
                continue;
            }
            if state.phase == Phase::Starting && self.config.has_initializer {
                continue;
            }
            let load = 2 * state.in_flight.len() + usize::from(state.phase == Phase::Starting);
            if load == 0 {
                return Some(worker);
            }
            if state.in_flight.len() < depth && best.is_none_or(|(least, _)| load < least) {
                best = Some((load, worker));
            }
        }
        best.map(|(_, worker)| worker)
    }

    /// Takes so many items from the front of the queue.
    #[inline]
    fn take_front(&mut self, items: u32) {
        let front = self.queue.front_mut().expect("they are there");
        front.first += u64::from(items);
        front.items -= items;
        if front.items == 0 {
            self.queue.pop_front();
        }
    }

    #[inline]
    fn send(&mut self, worker: WorkerId, range: Range, pace: Pace) {
        self.take_front(range.items);
        let job = self.jobs.get_mut(range.job).expect("checked by the caller");
        job.queued -= u64::from(range.items);
        job.in_flight += 1;
        let JobSpec { urgent: is_urgent, bulk: is_bulk, calls: are_calls, .. } = job.spec;
        // With nothing else pending one wake-up is due in any case, and the end of this chunk is soon enough for it.
        let is_alone = self.unsettled == 1;
        let state = &mut self.workers[worker];
        let seq = state.next_seq;
        state.next_seq = seq.next();
        state.served += u64::from(range.items);
        let is_last = job.queued == 0 && !job.open;
        let brief = pace.time(range.items).is_none_or(|time| time < SHORT_CHUNK_NS);
        let wake = if is_bulk && !is_last && !seq.0.is_multiple_of(pace.depth(range.items, true) as u32 / 2) {
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
        state.in_flight.push_back(SentChunk { seq, range, settled: 0, recalling: false, was_recalled: false });
        if state.in_flight.len() == 1 {
            state.heard = self.now;
            self.watch(worker, range.job);
        }
        let Range { job, first, items } = range;
        self.actions.push_back(Action::Send { worker, seq, job, first, items, wake, brief });
    }

    /// The worker's front chunk has changed: sets the clock for its first item, and acts if it is cancelled.
    #[inline]
    pub(super) fn watch(&mut self, worker: WorkerId, job: JobId) {
        if let Some(limit) = self.jobs.get(job).and_then(|job| job.spec.timeout) {
            let deadline = self.now.saturating_add(limit);
            self.workers[worker].deadline = Some(deadline);
            self.wake_by(deadline);
        }
        if self.is_at_cancelled(worker) {
            self.actions.push_back(Action::Probe { worker });
        }
        self.kill_if_cancelled(worker);
    }

    /// Launches one of the workers that rest, since there is more work than idle workers.
    pub(super) fn call_back(&mut self) {
        if self.config.idle_timeout.is_some()
            && let Some(worker) = self.workers.ids().find(|worker| self.workers[*worker].phase == Phase::Resting)
        {
            self.launch(worker);
        }
    }

    /// The queue is empty. If a worker is idle while another has unclaimed items, some of these are taken back.
    fn rebalance(&mut self) {
        if self.unsettled == 0
            || !self.workers.values().any(|state| state.phase == Phase::Ready && state.in_flight.is_empty())
        {
            return;
        }
        let mut best: Option<(Nanos, WorkerId)> = None;
        for (worker, state) in self.workers.iter() {
            let Some((at, sent)) = state.last_to_recall() else { continue };
            let fresh = sent.settled == 0 && at > 0;
            let items = sent.range.items - sent.settled;
            if !(fresh || items > 1) || !state.takes_work() {
                continue;
            }
            let Some(job) = self.jobs.get(sent.range.job) else { continue };
            let pace = self.paces[job.spec.task as usize];
            let waiting: u32 = state.in_flight.iter().map(|sent| sent.range.items - sent.settled).sum();
            let silence = self.now.saturating_sub(state.heard);
            let work =
                pace.time(waiting).unwrap_or(Nanos::MAX).max(if silence >= REPLY_SILENCE_NS { silence } else { 0 });
            if best.is_none_or(|(most, _)| work > most) {
                best = Some((work, worker));
            }
        }
        let Some((work, worker)) = best else { return };
        if work < RECALL_MIN_NS {
            self.wake_by(self.now.saturating_add(REPLY_SILENCE_NS));
            return;
        }
        let state = &mut self.workers[worker];
        let (at, _) = state.last_to_recall().expect("it was chosen for that");
        let half = at == 0;
        let sent = &mut state.in_flight[at];
        sent.ask_back();
        let (seq, items) = (sent.seq, sent.range.items);
        self.actions.push_back(Action::Recall { worker, seq, items, half });
    }

    /// The result of a [recall](Action::Recall): the worker may run `kept` items of the chunk, and none beyond.
    pub(crate) fn recalled(&mut self, worker: WorkerId, seq: Seq, kept: u32) {
        let state = &mut self.workers[worker];
        let Some(sent) = state.in_flight.iter_mut().find(|sent| sent.seq == seq) else { return };
        let kept = kept.max(sent.settled);
        if kept >= sent.range.items {
            // The idle worker may get other items.
            self.dispatch();
            return;
        }
        let range =
            Range { job: sent.range.job, first: sent.range.first + u64::from(kept), items: sent.range.items - kept };
        sent.range.items = kept;
        sent.recalling = false;
        state.served = state.served.saturating_sub(u64::from(range.items));
        self.requeue(range);
        self.expect_leave(worker);
        self.dispatch();
    }

    /// Takes back all items that the worker has not claimed.
    pub(super) fn recall_unstarted(&mut self, worker: WorkerId) {
        for sent in self.workers[worker].in_flight.iter_mut().filter(|sent| !sent.recalling) {
            sent.ask_back();
            let (seq, items) = (sent.seq, sent.range.items);
            self.actions.push_back(Action::Recall { worker, seq, items, half: false });
        }
    }
}
