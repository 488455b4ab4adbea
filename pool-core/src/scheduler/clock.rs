//! Events of the clock: delayed starts, time limits, idle workers.

use super::Scheduler;
use super::interface::{Action, Begun, JobId, WorkerId};
use super::tuning::{FUTURE_MAX_NS, LEAVE_NS, UNRESPONSIVE_NS};
use super::worker::{KillReason, Phase};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// Sets the time of the events that follow.
    #[inline]
    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// When [`Scheduler::tick`] is wanted next.
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        self.wake_at
    }

    /// Does everything that is due by `now`: launches, retirements, probes and retries.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.now = now;
        // Cleared first: everything below that is still to come sets it again.
        self.wake_at = None;
        for worker in self.workers.ids() {
            match self.workers[worker].phase {
                Phase::BackingOff(until) if until <= now => self.launch(worker),
                Phase::BackingOff(until) => self.wake_by(until),
                Phase::Ready => self.retire_if_idle(worker),
                _ => {}
            }
            if let Some(deadline) = self.workers[worker].deadline {
                if deadline <= now && self.workers[worker].has_left_work() {
                    // Its finalizer or a destructor takes too long, or a signal has stopped it.
                    let (limit, allowed) = self.leave_limit();
                    let ran = self.now.saturating_sub(deadline.saturating_sub(allowed));
                    self.kill(worker, KillReason::Stayed { limit, ran });
                } else if deadline <= now {
                    // Not killed at once: the worker may have answered meanwhile and be at another item, which only its
                    // own memory tells.
                    self.actions.push_back(Action::Probe { worker });
                } else {
                    self.wake_by(deadline);
                }
            }
        }
        self.retry_due();
        if self.is_narrow {
            self.find_room();
        }
        // Only then: with room or without rivals a late chunk keeps no flow waiting.
        if self.is_contended() && self.full {
            self.recall_late();
        }
        self.dispatch();
    }

    /// The result of a [probe](Action::Probe): the item that the worker has begun, and when (0 if unknown); `None` if it has
    /// begun none.
    pub(crate) fn probed(&mut self, worker: WorkerId, running: Option<(Begun, Nanos)>) {
        // A start of 0 is unknown, so it says nothing about a time limit; a cancelled item is killed all the same.
        self.probe_limit(worker, running.filter(|(_, since)| *since > 0));
        self.probe_cancelled(worker, running.map(|(begun, _)| begun));
        // The grace of a cancelled job may be over.
        self.kill_if_cancelled(worker);
    }

    fn probe_limit(&mut self, worker: WorkerId, running: Option<(Begun, Nanos)>) {
        let Some(sent) = self.workers[worker].in_flight.front() else {
            return self.start_probed(worker, running.map(|(_, since)| since));
        };
        let limit = self.jobs.get(sent.range.job).and_then(|job| job.spec.timeout);
        let Some(limit) = self.counted(limit) else { return };
        let state = &self.workers[worker];
        // A worker that dates its item into the future could run for ever; the item began when the worker last replied, at
        // the latest.
        let dated = |since| if since > self.now.saturating_add(FUTURE_MAX_NS) { state.heard } else { since };
        let running = running.filter(|(begun, _)| begun.is_in(sent)).map(|(begun, since)| (begun, dated(since)));
        if let Some((begun, since)) = running
            && let ran = self.now.saturating_sub(since)
            && ran >= limit
        {
            self.kill(worker, KillReason::Timeout { begun, limit, ran });
        } else if running.is_none()
            && (state.phase == Phase::Ready || state.phase == Phase::Starting && !self.config.has_initializer)
            // Granted on top of the limit: under load a sound worker may begin late.
            && self.now.saturating_sub(state.heard) >= limit.saturating_add(UNRESPONSIVE_NS)
        {
            self.kill(worker, KillReason::Unresponsive);
        } else {
            // Nothing runs: the next item can reach its limit no sooner than one limit from now.
            let since = running.map_or(self.now, |(_, since)| since);
            self.probe_at(worker, since.saturating_add(limit));
        }
    }

    /// The result of a probe of a starting worker: when it has begun its initializer, `None` if it has not.
    fn start_probed(&mut self, worker: WorkerId, begun: Option<Nanos>) {
        let state = &self.workers[worker];
        let Some(limit) = state.start_limit.filter(|_| state.phase == Phase::Starting) else { return };
        let (since, most) = match begun {
            Some(since) => (since, limit),
            None => (state.heard, limit.saturating_add(UNRESPONSIVE_NS)),
        };
        let ran = self.now.saturating_sub(since);
        if ran >= most {
            self.actions.push_back(Action::Overran { worker, limit, ran });
            self.kill(worker, KillReason::FailedStart);
        } else {
            // A worker that has not begun is probed less and less often.
            let pause = if begun.is_some() { limit - ran } else { limit.max(ran) };
            self.probe_at(worker, self.now.saturating_add(pause));
        }
    }

    /// The worker's front chunk has changed: sets the clock for its first item, and acts if it is cancelled.
    #[inline]
    pub(super) fn watch(&mut self, worker: WorkerId, job: JobId) {
        let Some(job) = self.jobs.get(job) else { return };
        // One look-up tells that there is nothing to do, as for nearly all chunks.
        if job.spec.timeout.is_some() || job.kills_running || !job.records.is_empty() {
            let timeout = job.spec.timeout;
            self.watch_closely(worker, timeout);
        }
    }

    #[cold]
    fn watch_closely(&mut self, worker: WorkerId, timeout: Option<Nanos>) {
        if let Some(limit) = self.counted(timeout) {
            let deadline = self.now.saturating_add(limit);
            self.workers[worker].deadline = Some(deadline);
            self.wake_by(deadline);
        }
        if self.is_at_cancelled(worker) {
            self.actions.push_back(Action::Probe { worker });
        }
        // After the probe, which is of use only for a process that still runs.
        self.kill_if_cancelled(worker);
    }

    /// Sets the time of the next probe of the worker's running item or initializer.
    pub(super) fn probe_at(&mut self, worker: WorkerId, deadline: Nanos) {
        self.workers[worker].deadline = Some(deadline);
        self.wake_by(deadline);
    }

    /// Sets the clock for a worker that was told to leave and has no work left: it should be gone soon.
    #[inline]
    pub(super) fn expect_leave(&mut self, worker: WorkerId) {
        if self.workers[worker].has_left_work() {
            // From the end of its work on, since the worker reads the request to leave at once then.
            let (_, allowed) = self.leave_limit();
            self.probe_at(worker, self.now.saturating_add(allowed));
        }
    }

    /// The time limit of a worker that leaves, and the time after which it is killed.
    fn leave_limit(&self) -> (Nanos, Nanos) {
        let of_finalizer = |limit: Nanos| (limit, limit.saturating_add(LEAVE_NS));
        self.config.finalizer_timeout.map_or((UNRESPONSIVE_NS, UNRESPONSIVE_NS), of_finalizer)
    }

    #[inline]
    pub(super) fn wake_by(&mut self, at: Nanos) {
        // One time for everything: looking at all workers when it comes is cheaper than a heap that each chunk changes.
        self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{FailureCause, JobSpec, SchedulerConfig, Seq, State};
    use super::*;

    const LIMIT: Nanos = 1_000_000;

    /// A pool of one worker, which has an item with a time limit.
    fn busy() -> Scheduler<()> {
        let config = SchedulerConfig::of(1);
        let mut scheduler = Scheduler::new(config, 1);
        scheduler.launched(WorkerId(0));
        scheduler.ready(WorkerId(0));
        scheduler.call(JobSpec { timeout: Some(LIMIT), ..JobSpec::default() }, |_| ());
        scheduler
    }

    /// Whether the worker is killed by `now` if it says, whenever it is asked, that it began at `since`.
    fn is_killed(scheduler: &mut Scheduler<()>, since: Nanos, now: Nanos) -> bool {
        while let Some(at) = scheduler.wake_at().filter(|at| *at <= now) {
            scheduler.tick(at);
            while let Some(action) = scheduler.next_action() {
                match action {
                    Action::Probe { worker } => {
                        scheduler.probed(worker, Some((Begun { seq: Seq(0), item: 0 }, since)));
                    }
                    Action::Kill { .. } => return true,
                    _ => {}
                }
            }
        }
        assert_eq!(scheduler.state(), State::Open);
        false
    }

    #[test]
    fn a_time_limit_is_kept() {
        assert!(!is_killed(&mut busy(), 1, LIMIT));
        assert!(is_killed(&mut busy(), 1, LIMIT + 1));
    }

    #[test]
    fn an_item_that_no_worker_begins_is_given_up() {
        let mut scheduler = busy();
        let (mut kills, mut now) = (0, 0);
        let cause = loop {
            now += LIMIT;
            assert!(now < 10 * UNRESPONSIVE_NS, "{kills} workers were killed, and it still goes on");
            scheduler.tick(now);
            let cause = loop {
                match scheduler.next_action() {
                    Some(Action::Probe { worker }) => scheduler.probed(worker, None),
                    Some(Action::Launch { worker }) => scheduler.launched(worker),
                    Some(Action::Kill { worker }) => {
                        kills += 1;
                        scheduler.exited(worker, None);
                    }
                    Some(Action::Fail { cause, .. }) => break Some(cause),
                    Some(_) => {}
                    None => break None,
                }
            };
            if let Some(cause) = cause {
                break cause;
            }
        };
        assert_eq!((kills, cause), (3, FailureCause::NotStarted { workers: 3 }));
    }

    #[test]
    fn a_worker_that_says_it_begins_in_the_future_is_no_exception() {
        for since in [Nanos::MAX, 1 << 60] {
            assert!(is_killed(&mut busy(), since, LIMIT + 2 * UNRESPONSIVE_NS), "since {since}");
        }
    }
}
