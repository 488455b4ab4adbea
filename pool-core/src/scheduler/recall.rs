//! Taking back chunks: for an idle worker, for a flow that waits, or since a worker leaves.

use super::Scheduler;
use super::interface::{Action, Nanos, Priority, Seq, WorkerId};
use super::tuning::{CONTENDED_AHEAD_NS, RECALL_MIN_NS, REPLY_SILENCE_NS};
use super::worker::{Phase, Range};

impl<P> Scheduler<P> {
    /// The queues are empty. If a worker is idle while another has unclaimed items, some of these are taken back.
    pub(super) fn rebalance(&mut self) {
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
            if !fresh && self.is_at_limit(sent.range) {
                continue;
            }
            let pace = self.tasks[job.spec.task as usize].pace;
            let waiting: u32 = state.in_flight.iter().map(|sent| sent.range.items - sent.settled).sum();
            let silence = self.now.saturating_sub(state.heard);
            let work = pace.time(waiting).unwrap_or(Nanos::MAX).max(if silence >= REPLY_SILENCE_NS { silence } else { 0 });
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

    /// Takes back the work of this priority or a lower one that is further ahead of a worker than may be while others wait.
    pub(super) fn give_way(&mut self, priority: Priority) {
        for worker in self.workers.ids() {
            let state = &mut self.workers[worker];
            if !state.takes_work() {
                continue;
            }
            let mut ahead: Nanos = 0;
            let mut keeps = 0;
            for sent in &state.in_flight {
                ahead = ahead.saturating_add(sent.charge);
                if ahead > CONTENDED_AHEAD_NS {
                    break;
                }
                keeps += 1;
            }
            // Newest first, so that they end up in their old order, each in front of the queue.
            for (at, sent) in state.in_flight.iter_mut().enumerate().skip(keeps).rev() {
                let is_lower = self.jobs.get(sent.range.job).is_some_and(|job| job.spec.priority <= priority);
                let is_running = at == 0 && sent.range.items - sent.settled == 1;
                if is_lower && !sent.recalling && !sent.is_settled() && !is_running {
                    sent.ask_back();
                    let (seq, items) = (sent.seq, sent.range.items);
                    self.actions.push_back(Action::Recall { worker, seq, items, half: false });
                }
            }
        }
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
        let (job, items) = (sent.range.job, sent.range.items - kept);
        let range = Range { job, first: sent.range.first + u64::from(kept), items };
        let refund = (u128::from(sent.charge) * u128::from(items) / u128::from(sent.range.items)) as Nanos;
        sent.charge -= refund;
        sent.range.items = kept;
        sent.recalling = false;
        let is_vacant = sent.is_settled() && std::mem::take(&mut sent.occupies);
        state.ahead = state.ahead.saturating_sub(refund);
        state.served = state.served.saturating_sub(u64::from(items));
        if let Some((flow, _)) = self.flow_of(job)
            && let Some(flow) = self.flow_mut(flow)
        {
            flow.refund(refund);
        }
        self.requeue(range);
        if is_vacant {
            self.vacate_place(job);
        }
        // What is ahead of the worker has become less.
        self.full = false;
        self.expect_leave(worker);
        self.dispatch();
    }

    /// Takes back all items that the worker has not claimed.
    pub(super) fn recall_unstarted(&mut self, worker: WorkerId) {
        for sent in self.workers[worker].in_flight.iter_mut().rev().filter(|sent| !sent.recalling) {
            sent.ask_back();
            let (seq, items) = (sent.seq, sent.range.items);
            self.actions.push_back(Action::Recall { worker, seq, items, half: false });
        }
    }
}
