//! Taking back chunks: for an idle worker, for a flow that waits, or since a worker leaves.

use super::Scheduler;
use super::interface::{JobSpec, Priority, Seq, WorkerId};
use super::tuning::{
    CALL_AHEAD_NS, CONTENDED_AHEAD_NS, CONTENDED_MAP_AHEAD_NS, GIVE_WAY_PAUSE_NS, RECALL_MIN_NS, REPLY_SILENCE_NS,
};
use super::worker::Range;
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// The queues are empty, or hold a map that is sent to few workers. If a worker is idle while another has unclaimed items,
    /// some of these are taken back.
    pub(super) fn rebalance(&mut self) {
        // The cheap questions first: this runs each time that the queues run dry.
        // A chunk that is alone has one item, which runs, or its job has ended. One that was emptied is not counted, and may
        // be in front of it.
        let is_alone = self.unsettled <= 1
            && self.in_flight.iter().sum::<u32>() <= 1
            && self.busy.iter().all(|worker| self.workers[worker].in_flight.len() <= 1);
        if self.unsettled == 0 || is_alone || self.first_idle().is_none() {
            return;
        }
        let mut best: Option<(Nanos, WorkerId)> = None;
        let mut narrow_until = None;
        for worker in self.busy.iter() {
            let state = &self.workers[worker];
            let Some((at, sent)) = state.last_to_recall() else { continue };
            let fresh = sent.settled == 0 && at > 0;
            let items = sent.range.items - sent.settled;
            // The last item of a chunk that is under way is the one that runs.
            if !(fresh || items > 1) || !state.takes_work() {
                continue;
            }
            let Some(job) = self.jobs.get(sent.range.job) else { continue };
            // Half of a chunk that runs would be one more item of its task at once than is allowed.
            if !fresh && self.is_at_limit(sent.range) {
                continue;
            }
            let silence = Some(self.now.saturating_sub(state.heard)).filter(|silence| *silence >= REPLY_SILENCE_NS);
            let pace = self.tasks[job.spec.task as usize].pace;
            let narrow = job.narrow(self.first_ready_at, pace, self.narrow_workers);
            // Awake workers will be through with it before an idle one is awake.
            if silence.is_none() && narrow.workers(self.now) < self.config.workers {
                narrow_until = Some(narrow.next_step(self.now));
                continue;
            }
            let waiting: u32 = state.in_flight.iter().map(|sent| sent.range.items - sent.settled).sum();
            // Unknown items may take for ever; and a worker that has been silent is slower than its pace says.
            let work = pace.time(waiting).unwrap_or(Nanos::MAX).max(silence.unwrap_or(0));
            if best.is_none_or(|(most, _)| work > most) {
                best = Some((work, worker));
            }
        }
        // Looked at again then: the map may be over, or take longer than was expected.
        if let Some(narrow_until) = narrow_until {
            self.wake_by(narrow_until);
        }
        let Some((work, worker)) = best else { return };
        if work < RECALL_MIN_NS {
            // Not worth a recall as far as is known; if the worker stays silent it is looked at again.
            self.wake_by(self.now.saturating_add(REPLY_SILENCE_NS));
            return;
        }
        let state = &mut self.workers[worker];
        let (at, _) = state.last_to_recall().expect("it was chosen for that");
        // The worker goes on with the chunk that it is at, so it keeps half; a chunk that it has not reached is taken
        // whole.
        let half = at == 0;
        let sent = &mut state.in_flight[at];
        let job = sent.range.job;
        self.actions.push_back(sent.ask_back(worker, half));
        // Else a map that is sent to few workers would be sent to the silent one again.
        if let Some(job) = self.jobs.get_mut(job) {
            job.wakes_another = true;
        }
    }

    /// Takes back the work of this priority or a lower one that is further ahead of a worker than may be while others wait.
    pub(super) fn give_way(&mut self, priority: Priority) {
        for worker in self.workers.ids() {
            if self.workers[worker].takes_work() {
                self.estimate_anew(worker);
                // No more than maps may fill while others wait, or a call would find no room.
                self.recall_maps(worker, priority, CONTENDED_MAP_AHEAD_NS);
            }
        }
    }

    /// Items took much longer than expected: the time of the worker's other chunks is estimated anew, and chunks that
    /// are too far ahead now are taken back.
    #[cold]
    pub(super) fn recall_underestimated(&mut self, worker: WorkerId) {
        self.estimate_anew(worker);
        if self.workers[worker].takes_work() {
            self.recall_maps(worker, Priority::High, CONTENDED_AHEAD_NS);
        }
    }

    /// Estimates the time of the worker's chunks by the pace of now. Their charges are corrected when they end.
    fn estimate_anew(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        state.ahead = 0;
        for sent in &mut state.in_flight {
            if let Some(job) = self.jobs.get(sent.range.job)
                && let Some(time) = self.tasks[job.spec.task as usize].pace.time(sent.range.items)
            {
                sent.time = time;
            }
            state.ahead = state.ahead.saturating_add(sent.time);
        }
    }

    /// A call goes to this worker: maps that are ahead of it there go behind it, as far as they are not claimed.
    #[inline]
    pub(super) fn make_way(&mut self, worker: WorkerId, priority: Priority) {
        let state = &mut self.workers[worker];
        let pause_ends = state.gave_way_at.saturating_add(GIVE_WAY_PAUSE_NS);
        // A recall costs about as much as a short chunk, so a short wait is cheaper.
        if state.ahead > CALL_AHEAD_NS && self.now >= pause_ends {
            // Noted even if nothing can be taken back: asking again would not help.
            state.gave_way_at = self.now;
            self.recall_maps(worker, priority, 0);
        }
    }

    /// Takes back the maps of this priority or a lower one that are more than `ahead_max` ahead of the worker.
    fn recall_maps(&mut self, worker: WorkerId, priority: Priority, ahead_max: Nanos) {
        let state = &mut self.workers[worker];
        let mut ahead: Nanos = 0;
        // Chunks that the worker reaches within the bound stay with it.
        let mut keeps = 0;
        for sent in &state.in_flight {
            ahead = ahead.saturating_add(sent.time);
            if ahead > ahead_max {
                break;
            }
            keeps += 1;
        }
        // Newest first, so that they end up in their old order, each in front of the queue.
        for (at, sent) in state.in_flight.iter_mut().enumerate().skip(keeps).rev() {
            // Calls of one priority stay in the order in which they came.
            let gives_way = |spec: JobSpec| spec.priority <= priority && (!spec.calls || spec.priority < priority);
            let gives_way = self.jobs.get(sent.range.job).is_some_and(|job| gives_way(job.spec));
            let is_running = at == 0 && sent.range.items - sent.settled == 1;
            if gives_way && !sent.recalling && !sent.is_settled() && !is_running {
                self.actions.push_back(sent.ask_back(worker, false));
            }
        }
    }

    /// Other flows wait. Workers that have not replied for long may be at longer items than was expected: half of the
    /// rest of their chunks is taken back, and half of that the next time. They keep one item, since a worker may merely
    /// wait for a CPU: if it lost all, it could be sent the same again and again.
    pub(super) fn recall_late(&mut self) {
        for worker in self.workers.ids() {
            let state = &mut self.workers[worker];
            let is_late = state.takes_work() && self.now.saturating_sub(state.heard) >= REPLY_SILENCE_NS;
            let front = state.in_flight.front_mut().filter(|sent| is_late && !sent.recalling);
            if let Some(sent) = front.filter(|sent| sent.range.items - sent.settled > 1) {
                self.actions.push_back(sent.ask_back(worker, true));
            }
        }
    }

    /// The result of a [recall](super::interface::Action::Recall): the worker may run `kept` items of the chunk, and none
    /// beyond.
    pub(crate) fn recalled(&mut self, worker: WorkerId, seq: Seq, kept: u32) {
        let state = &mut self.workers[worker];
        let Some(sent) = state.in_flight_mut(seq) else { return };
        // Replies that came between count, whatever the limit in the ring says.
        let kept = kept.max(sent.settled);
        if kept >= sent.range.items {
            // The idle worker may get other items.
            self.dispatch();
            return;
        }
        let (job, items) = (sent.range.job, sent.range.items - kept);
        let range = Range { job, first: sent.range.first + u64::from(kept), items };
        // In 128 bits: a long time multiplied by many items passes 2^64.
        let part = |time: Nanos| (u128::from(time) * u128::from(items) / u128::from(sent.range.items)) as Nanos;
        let (time, refund) = (part(sent.time), sent.charged.map(part));
        sent.time -= time;
        sent.charged = sent.charged.zip(refund).map(|(charged, refund)| charged - refund);
        sent.range.items = kept;
        // It gave something, so it may be asked again for the half of the rest.
        sent.recalling = false;
        // An empty chunk must not count: the next map would take it for that of a rival, and share with nobody.
        let is_vacant = sent.is_settled() && std::mem::take(&mut sent.occupies);
        state.ahead = state.ahead.saturating_sub(time);
        if let Some(refund) = refund {
            self.refund(job, refund);
        }
        // Queued before the place is given up, so that the flow is there to take it.
        if self.is_pinned(job) {
            self.repin(worker, range);
        } else {
            // They did not run here, so they do not bring the replacement of this worker nearer.
            let served = &mut self.workers[worker].served;
            *served = served.saturating_sub(u64::from(items));
            self.requeue(range);
        }
        if is_vacant {
            self.release_chunk(job);
        }
        self.note_room(worker);
        self.expect_leave(worker);
        self.dispatch();
    }

    /// Takes back all items that the worker has not claimed.
    pub(super) fn recall_unstarted(&mut self, worker: WorkerId) {
        for sent in self.workers[worker].in_flight.iter_mut().rev().filter(|sent| !sent.recalling) {
            self.actions.push_back(sent.ask_back(worker, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{Action, SchedulerConfig};
    use super::*;

    #[test]
    fn an_item_behind_an_emptied_chunk_goes_to_an_idle_worker() {
        let mut scheduler: Scheduler<()> = Scheduler::new(SchedulerConfig::of(1), 1);
        scheduler.launched(WorkerId(0));
        scheduler.ready(WorkerId(0));
        let spec = JobSpec { calls: true, ..JobSpec::default() };
        let call = scheduler.call(spec, |_| ());
        scheduler.join(call, true);
        assert!(scheduler.cancel_call(call, 0));
        scheduler.failed(call, 0);
        scheduler.recalled(WorkerId(0), Seq(0), 0);
        scheduler.resize(2);
        scheduler.launched(WorkerId(1));
        scheduler.ready(WorkerId(1));
        let recalls = std::iter::from_fn(|| scheduler.next_action())
            .filter(|action| matches!(action, Action::Recall { worker: WorkerId(0), seq: Seq(1), .. }));
        assert_eq!(recalls.count(), 1);
    }
}
