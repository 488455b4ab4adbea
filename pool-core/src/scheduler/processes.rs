//! Events of processes: they start, fail to start, die, are killed, leave, and are replaced.

use super::Scheduler;
use super::interface::{Action, Begun, FailureCause, JobId, Seq, State, WorkerId};
use super::tuning::{NOT_STARTED_MAX, back_off_pause};
use super::worker::{KillReason, Phase, Range};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// The worker's process exists.
    pub(crate) fn launched(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        if state.phase == Phase::Launching {
            state.phase = Phase::Starting;
            state.heard = self.now;
            self.starts_call(worker, self.config.initializer_timeout);
        }
        if self.state == State::Terminated || self.state == State::Broken {
            // It was ordered before the end and could not be called off while it was forked.
            self.kill(worker, KillReason::Unwanted);
        } else if worker.index() >= self.config.workers {
            self.quit(worker);
        }
        self.send_pinned(worker);
        // The work may all have been done while the process was launched; then it is told to leave at once.
        self.find_room();
        self.dispatch();
        self.wind_down();
    }

    /// The process is at a call that it makes before it is ready, which may take so long.
    pub(crate) fn starts_call(&mut self, worker: WorkerId, limit: Option<Nanos>) {
        let state = &mut self.workers[worker];
        // Each call has its own time, whatever the ones before it have used.
        state.start_limit = limit;
        state.heard = self.now;
        state.deadline = None;
        if let Some(limit) = limit {
            self.probe_at(worker, self.now.saturating_add(limit));
        }
    }

    /// Whether the process has not said yet that it is ready, and may go on.
    pub(crate) fn is_starting(&self, worker: WorkerId) -> bool {
        self.workers[worker].phase == Phase::Starting
    }

    /// Whether a process for this worker is still wanted, since it was asked for.
    pub(crate) fn is_wanted(&self, worker: WorkerId) -> bool {
        worker.index() < self.config.workers
            && (self.state == State::Open || self.state == State::Closed && self.has_work())
    }

    /// No process was begun for this worker, since none [is wanted](Scheduler::is_wanted) any more.
    pub(crate) fn withdraw_launch(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        if state.phase == Phase::Launching {
            state.phase = Phase::Vacant;
        }
        self.unpin(worker);
        self.find_room();
        self.dispatch();
        self.wind_down();
    }

    /// The process has run its initializer.
    pub(crate) fn ready(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        // Only failures in a row count: the pool survives a fault that passes.
        state.failures = 0;
        state.heard = self.now;
        // Only the first counts: maps that began before it could learn nothing, and those after it need not wait for others.
        self.first_ready_at = self.first_ready_at.min(self.now);
        if state.phase == Phase::Starting {
            state.phase = Phase::Ready;
            state.has_started = true;
            self.idle.insert(worker);
            if state.in_flight.is_empty() {
                state.deadline = None; // the initializer's
            }
        }
        self.send_pinned(worker);
        self.find_room();
        self.dispatch();
        self.retire_if_idle(worker);
    }

    /// The process has grown too large: it leaves after the items that it has claimed, and a fresh one comes.
    pub(crate) fn exceeded_rss(&mut self, worker: WorkerId) {
        // Taken back before it is told to leave, so that it leaves after the items that it has claimed, and not after
        // all that it was sent.
        self.recall_unstarted(worker);
        self.quit(worker);
    }

    /// The process has violated the protocol.
    pub(crate) fn misbehaved(&mut self, worker: WorkerId) {
        let is_starting = self.workers[worker].phase == Phase::Starting;
        // Nothing but the start itself can be to blame, and a start that always fails must break the pool.
        self.kill(worker, if is_starting { KillReason::FailedStart } else { KillReason::Protocol });
    }

    /// The process has written a reply though it had no work. Chunks that have just been sent are not blamed: it has not
    /// seen them.
    pub(crate) fn replied_unsolicited(&mut self, worker: WorkerId) {
        self.kill(worker, KillReason::UnsolicitedReply);
    }

    /// The process is gone, and everything that it had published has been [taken in](Scheduler::replied).
    /// `begun` is where it was.
    pub(crate) fn exited(&mut self, worker: WorkerId, begun: Option<Begun>) {
        let state = &mut self.workers[worker];
        let phase = state.phase;
        // Taken as a whole: the chunks are judged one by one below, and the next process starts with none.
        let lost = std::mem::take(&mut state.in_flight);
        state.phase = Phase::Vacant;
        let heard = state.heard;
        state.ahead = 0;
        state.served = 0;
        // The next process numbers its chunks from 0, as its fresh rings do.
        state.next_seq = Seq::default();
        state.deadline = None;
        state.warning = None;
        // Counted first, and reset below if the death has another cause.
        state.idle_deaths += 1;
        if self.state == State::Terminated || self.state == State::Broken {
            // All jobs were ended with the pool; there is nothing to give back.
            return;
        }
        // A chunk that was taken back whole may still stand before the chunk that it was at.
        let front = lost.iter().position(|sent| sent.settled < sent.range.items).unwrap_or(0);
        // Until the worker is replaced, since a failed start may end the pool, and nothing is sent of a job that has ended.
        self.holds_back = true;
        // Newest first, each to the front of the queue, so that they end up in their old order.
        for (at, mut sent) in lost.into_iter().enumerate().rev() {
            // The front chunk has had its worker since the last reply; the others have cost nothing.
            let elapsed = if at == front { self.now.saturating_sub(heard) } else { 0 };
            self.correct_charge(&sent, elapsed);
            self.in_flight_ended(&sent);
            // If it was killed, the reason of the kill is to blame; else the item that it had begun.
            let has_begun = begun.is_some_and(|begun| begun.is_in(&sent));
            let is_reason = match phase {
                Phase::Killed(kill) => kill.is_about(&sent),
                _ => has_begun,
            };
            // Others run again elsewhere. An item that must not fails by any death.
            let is_once = self.jobs.get(sent.range.job).is_some_and(|job| job.spec.once);
            let blamed = is_reason || is_once && has_begun;
            // The items before the running one have been salvaged, so the running one is the first without an answer. The
            // worker's own word does not count: a task may have overwritten it.
            let item = sent.next_item();
            // A worker that has overwritten its memory may have begun any of them.
            let may_have_begun =
                is_once && matches!(phase, Phase::Killed(KillReason::Protocol | KillReason::UnsolicitedReply));
            let blamed = may_have_begun
                || at == front
                    && (blamed
                        || phase == Phase::Killed(KillReason::Unresponsive)
                            && self.is_never_begun(sent.range.job, item));
            if !blamed {
                if self.is_pinned(sent.range.job) {
                    let items = sent.range.items - sent.settled;
                    self.fail_unrun(Some(worker), Range { first: item, items, ..sent.range });
                } else {
                    self.give_back(&sent);
                }
                self.finish_if_done(sent.range.job);
                continue;
            }
            self.workers[worker].idle_deaths = 0;
            if sent.settled < sent.range.items {
                sent.settled += 1;
                self.give_back(&sent);
                // The reason of a kill is another item's, and no error of this one's.
                let is_innocent = !is_reason && is_once && (has_begun || may_have_begun);
                self.blame(worker, sent.range.job, item, if is_innocent { Phase::Vacant } else { phase });
            }
            self.finish_if_done(sent.range.job);
        }
        self.unpin(worker);
        // Before the dispatch, which launches a resting worker if there is work for it.
        self.replace(worker, phase);
        self.holds_back = false;
        self.find_room();
        self.dispatch();
        self.wind_down();
    }

    /// An item has cost a worker: it is tried again if its options allow, else it fails.
    pub(super) fn blame(&mut self, worker: WorkerId, id: JobId, item: u64, phase: Phase) {
        let cause = match phase {
            Phase::Killed(KillReason::Timeout { limit, ran, .. }) => FailureCause::TimedOut { limit, ran },
            Phase::Killed(KillReason::Protocol | KillReason::FailedStart) => FailureCause::Protocol,
            Phase::Killed(KillReason::Unresponsive) => FailureCause::NotStarted { workers: NOT_STARTED_MAX },
            _ => FailureCause::Died,
        };
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return };
        // A cancelled item has its outcome already.
        if job.has_cancelled(item) {
            job.records.remove(&item);
        } else if self.defer_retry(id, item) {
            self.actions.push_back(Action::Retry { worker, job: id, item });
        } else {
            self.actions.push_back(Action::Fail { worker: Some(worker), job: id, item, cause });
        }
    }

    /// Starts the worker again after a pause that doubles with each time in a row.
    fn back_off(&mut self, worker: WorkerId, times: u32) {
        let until = self.now.saturating_add(back_off_pause(times));
        self.workers[worker].phase = Phase::BackingOff(until);
        self.wake_by(until);
    }

    /// Starts a successor of a process that ended in `phase`, if one is wanted.
    fn replace(&mut self, worker: WorkerId, phase: Phase) {
        // A closed pool replaces its dead only as long as items are left for them.
        let wanted = worker.index() < self.config.workers && (self.state == State::Open || self.has_work());
        let state = &mut self.workers[worker];
        if matches!(phase, Phase::Launching | Phase::Starting | Phase::Killed(KillReason::FailedStart)) {
            state.failures += 1;
            // Breaking the pool is better than starting for ever: callers hear of it instead of waiting.
            if state.failures > self.config.restart_limit {
                self.end(State::Broken, FailureCause::Broken);
                return;
            }
            let failures = state.failures;
            if wanted {
                self.back_off(worker, failures);
            }
        } else if wanted && phase == Phase::Ready && state.idle_deaths > 1 {
            // It is killed from outside, or its initializer left a fault behind. Restarts have no limit, but are slow.
            let deaths = state.idle_deaths - 1;
            self.back_off(worker, deaths);
        } else if wanted && phase == Phase::Retiring {
            // It left for want of work, so its successor comes with the next work.
            state.phase = Phase::Resting;
        } else if wanted {
            self.launch(worker);
        }
    }

    pub(super) fn launch(&mut self, worker: WorkerId) {
        self.workers[worker].phase = Phase::Launching;
        self.actions.push_back(Action::Launch { worker });
    }

    pub(super) fn quit(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        // Told once: it reads no request behind the first such one.
        if state.takes_work() {
            state.phase = Phase::Leaving;
            self.actions.push_back(Action::Quit { worker });
            self.expect_leave(worker);
        }
    }

    pub(super) fn kill(&mut self, worker: WorkerId, kill: KillReason) {
        let state = &mut self.workers[worker];
        if matches!(state.phase, Phase::Starting | Phase::Ready | Phase::Leaving | Phase::Retiring) {
            state.phase = Phase::Killed(kill);
            // A process that is being killed is not probed: the kernel ends it without its help.
            state.deadline = None;
            // Unclaimed items go elsewhere, and must not begin while the kill is under way. A worker that violated the
            // protocol is not asked: it could deny the item that it runs, which would do the same elsewhere.
            if !matches!(kill, KillReason::Protocol | KillReason::FailedStart) {
                self.recall_unstarted(worker);
            }
            self.actions.push_back(Action::Kill { worker });
        }
    }

    /// Tells a worker to leave that has been idle for long enough, or sets the clock for that.
    #[inline]
    pub(super) fn retire_if_idle(&mut self, worker: WorkerId) {
        // First, since most pools have none, and this runs after each chunk.
        let Some(limit) = self.config.idle_timeout else { return };
        let state = &mut self.workers[worker];
        if state.phase != Phase::Ready || !state.in_flight.is_empty() {
            return;
        }
        let until = state.heard.saturating_add(limit);
        if until > self.now {
            // Re-armed lazily: work may come and go until then without a timer being moved.
            self.wake_by(until);
            return;
        }
        state.phase = Phase::Retiring;
        self.actions.push_back(Action::Quit { worker });
        self.expect_leave(worker);
    }

    /// Gives up the next start of a worker that has no process.
    pub(super) fn vacate(&mut self, worker: WorkerId) {
        if let Phase::BackingOff(_) | Phase::Resting = self.workers[worker].phase {
            self.workers[worker].phase = Phase::Vacant;
            // No process ends with it, so the engine would not look whether the pool is finished.
            self.wake_by(self.now);
        }
    }

    /// Tells all workers to leave when a closed pool has no work left.
    pub(super) fn wind_down(&mut self) {
        if self.state != State::Closed || self.has_work() {
            self.seal_idle_lazy();
            return;
        }
        for worker in self.workers.ids() {
            self.vacate(worker);
            self.quit(worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{JobSpec, SchedulerConfig};
    use super::*;

    /// The items of a job of two that fail when their worker dies after a kill, having begun the first.
    fn failed(once: bool, kill: KillReason) -> Vec<u64> {
        let config = SchedulerConfig::of(1);
        let mut scheduler = Scheduler::new(config, 1);
        let worker = WorkerId(0);
        scheduler.launched(worker);
        scheduler.ready(worker);
        let job = scheduler.submit(JobSpec { chunk_size: Some(1), once, ..JobSpec::default() }, |_| ());
        scheduler.add_items(job, 0, 2);
        while scheduler.next_action().is_some() {}
        let state = &mut scheduler.workers[worker];
        assert_eq!(state.in_flight.len(), 2);
        state.phase = Phase::Killed(kill);
        let begun = Begun { seq: state.in_flight[0].seq, item: 0 };
        scheduler.exited(worker, Some(begun));
        let mut failed = Vec::new();
        while let Some(action) = scheduler.next_action() {
            if let Action::Fail { item, cause, .. } = action {
                assert_eq!(cause == FailureCause::Died, kill == KillReason::Unwanted);
                failed.push(item);
            }
        }
        failed.sort_unstable();
        failed
    }

    #[test]
    fn an_item_that_must_not_run_twice_fails_by_any_death() {
        assert_eq!(failed(false, KillReason::Unwanted), Vec::<u64>::new());
        assert_eq!(failed(true, KillReason::Unwanted), [0]);
        assert_eq!(failed(false, KillReason::Protocol), [0]);
        assert_eq!(failed(true, KillReason::Protocol), [0, 1]);
    }
}
