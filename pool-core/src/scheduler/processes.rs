//! What becomes of processes: they start, fail to, die, are killed, leave, and are replaced.

use super::retries::NOT_STARTED_MAX;
use super::{Action, Begun, FailureCause, JobId, KillReason, Nanos, Phase, Scheduler, State, WorkerId};

/// Wait before a worker that failed to start is started again, or an item that failed is tried again: beside a new
/// process, which takes about a millisecond, long enough for a passing trouble to pass. Doubles with each time in a
/// row, up to 1.28 s.
const BACK_OFF: Nanos = 10_000_000;
const BACK_OFF_DOUBLINGS_MAX: u32 = 7;

/// How long to wait after a failure that is the `times`-th in a row.
pub(super) fn back_off_pause(times: u32) -> Nanos {
    BACK_OFF << (times - 1).min(BACK_OFF_DOUBLINGS_MAX)
}

impl<P> Scheduler<P> {
    /// There is a process.
    pub(crate) fn launched(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        if state.phase == Phase::Launching {
            state.phase = Phase::Starting;
            state.heard = self.now;
            if let Some(limit) = self.config.initializer_timeout {
                self.look_again(worker, self.now.saturating_add(limit));
            }
        }
        if self.state == State::Terminated || self.state == State::Broken {
            self.kill(worker, KillReason::Unwanted);
        } else if worker >= self.config.workers {
            self.quit(worker);
        }
        self.full = false;
        self.dispatch();
        self.wind_down();
    }

    /// Whether a process for this worker is still wanted, since it was asked for.
    pub(crate) fn is_wanted(&self, worker: WorkerId) -> bool {
        worker < self.config.workers && (self.state == State::Open || self.state == State::Closed && self.has_work())
    }

    /// No process was begun for this worker, since none [is wanted](Scheduler::is_wanted) any more.
    pub(crate) fn withdraw_launch(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        if state.phase == Phase::Launching {
            state.phase = Phase::Vacant;
        }
        self.full = false;
        self.dispatch();
        self.wind_down();
    }

    /// The process has run its initializer.
    pub(crate) fn ready(&mut self, worker: WorkerId) {
        let state = &mut self.workers[worker];
        state.failures = 0;
        state.heard = self.now;
        if state.phase == Phase::Starting {
            state.phase = Phase::Ready;
            if state.in_flight.is_empty() {
                state.deadline = None; // the initializer's
            }
        }
        self.full = false;
        self.dispatch();
        self.retire_if_idle(worker);
    }

    /// The process has grown too large: it leaves after what it runs, and a fresh one comes.
    pub(crate) fn exceeded_rss(&mut self, worker: WorkerId) {
        self.recall_unstarted(worker);
        self.quit(worker);
    }

    /// The process has written nonsense.
    pub(crate) fn misbehaved(&mut self, worker: WorkerId) {
        let is_starting = self.workers[worker].phase == Phase::Starting;
        self.kill(worker, if is_starting { KillReason::FailedStart } else { KillReason::Protocol });
    }

    /// The process has written something though nothing was asked of it: what has just been sent to it, and has not gone
    /// yet, is not to blame.
    pub(crate) fn replied_unsolicited(&mut self, worker: WorkerId) {
        self.kill(worker, KillReason::UnsolicitedReply);
    }

    /// The process is gone, and everything that it had published has been [taken in](Scheduler::replied).
    /// `begun` is where it was.
    pub(crate) fn exited(&mut self, worker: WorkerId, begun: Option<Begun>) {
        let state = &mut self.workers[worker];
        let phase = state.phase;
        let lost = std::mem::take(&mut state.in_flight);
        state.phase = Phase::Vacant;
        state.served = 0;
        state.next_seq = 0;
        state.deadline = None;
        state.idle_deaths += 1;
        if self.state == State::Terminated || self.state == State::Broken {
            return;
        }
        // One that was taken back whole may still stand before the one that it was at.
        let front = lost.iter().position(|sent| sent.settled < sent.range.items).unwrap_or(0);
        // Newest first, each to the front of the queue, so that they end up in their old order.
        for (at, mut sent) in lost.into_iter().enumerate().rev() {
            self.in_flight_ended(sent.range.job);
            // What we killed it for is to blame, if anything is; else what it had begun.
            let blamed = match phase {
                Phase::Killed(kill) => kill.is_about(&sent),
                _ => begun.is_some_and(|begun| begun.is_in(&sent)),
            };
            // The items before the one that it was in have been salvaged, so that is the first one without an answer,
            // whatever a worker that scribbled may say.
            let item = sent.next_item();
            let blamed = at == front
                && (blamed
                    || phase == Phase::Killed(KillReason::Unresponsive) && self.is_never_begun(sent.range.job, item));
            if !blamed {
                self.give_back(&sent);
                self.finish_if_done(sent.range.job);
                continue;
            }
            self.workers[worker].idle_deaths = 0;
            if sent.settled < sent.range.items {
                sent.settled += 1;
                self.give_back(&sent);
                self.blame(worker, sent.range.job, item, phase);
            }
            self.finish_if_done(sent.range.job);
        }
        self.replace(worker, phase);
        self.full = false;
        self.dispatch();
        self.wind_down();
    }

    /// An item has cost a worker: it is tried again if its terms allow, else it fails.
    pub(super) fn blame(&mut self, worker: WorkerId, id: JobId, item: u64, phase: Phase) {
        let cause = match phase {
            Phase::Killed(KillReason::Timeout { limit, ran, .. }) => FailureCause::TimedOut { limit, ran },
            Phase::Killed(KillReason::Protocol | KillReason::FailedStart) => FailureCause::Protocol,
            Phase::Killed(KillReason::Unresponsive) => FailureCause::NotStarted { workers: NOT_STARTED_MAX },
            _ => FailureCause::Died,
        };
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return };
        if job.has_cancelled(item) {
            job.records.remove(&item);
        } else if !self.defer_retry(id, item) {
            self.actions.push_back(Action::Fail { worker: Some(worker), job: id, item, cause });
        }
    }

    /// Starts the worker again after a pause that doubles with each time in a row.
    fn back_off(&mut self, worker: WorkerId, times: u32) {
        let until = self.now.saturating_add(back_off_pause(times));
        self.workers[worker].phase = Phase::BackingOff(until);
        self.wake_by(until);
    }

    /// Starts a successor of a worker that ended in `phase`, if one is wanted.
    fn replace(&mut self, worker: WorkerId, phase: Phase) {
        let wanted = worker < self.config.workers && (self.state == State::Open || self.has_work());
        let state = &mut self.workers[worker];
        if matches!(phase, Phase::Launching | Phase::Starting | Phase::Killed(KillReason::FailedStart)) {
            state.failures += 1;
            if state.failures > self.config.restart_limit {
                self.end(State::Broken, FailureCause::Broken);
                return;
            }
            let failures = state.failures;
            if wanted {
                self.back_off(worker, failures);
            }
        } else if wanted && phase == Phase::Ready && state.idle_deaths > 1 {
            // Somebody kills it, or its initializer left something deadly behind. It may be started for ever, but
            // slowly.
            let deaths = state.idle_deaths - 1;
            self.back_off(worker, deaths);
        } else if wanted && phase == Phase::Retiring {
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
            state.deadline = None;
            // What it has not begun goes elsewhere, and surely is not begun any more while the kill is under way. One
            // that writes nonsense is not asked what that is: it would disown what it runs, which would do the same
            // elsewhere.
            if !matches!(kill, KillReason::Protocol | KillReason::FailedStart) {
                self.recall_unstarted(worker);
            }
            self.actions.push_back(Action::Kill { worker });
        }
    }

    /// Sends a worker home that has had nothing to do for long enough; sees to it that it will be, if it has nothing to
    /// do now.
    #[inline]
    pub(super) fn retire_if_idle(&mut self, worker: WorkerId) {
        let Some(limit) = self.config.idle_timeout else { return };
        let state = &mut self.workers[worker];
        if state.phase != Phase::Ready || !state.in_flight.is_empty() {
            return;
        }
        let until = state.heard.saturating_add(limit);
        if until > self.now {
            self.wake_by(until);
            return;
        }
        state.phase = Phase::Retiring;
        self.actions.push_back(Action::Quit { worker });
        self.expect_leave(worker);
    }

    /// Nobody will be started in a place where there is nobody.
    pub(super) fn vacate(&mut self, worker: WorkerId) {
        if let Phase::BackingOff(_) | Phase::Resting = self.workers[worker].phase {
            self.workers[worker].phase = Phase::Vacant;
            // No process ends with it, so nothing else might make the shell see that the pool is finished.
            self.wake_by(self.now);
        }
    }

    /// Sends the workers home when a closed pool has nothing left to do.
    pub(super) fn wind_down(&mut self) {
        if self.state != State::Closed || self.has_work() {
            self.seal_idle_lazy();
            return;
        }
        for worker in 0..self.workers.len() {
            self.vacate(worker);
            self.quit(worker);
        }
    }
}
