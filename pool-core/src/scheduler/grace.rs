//! Grace: a cancelled item that runs is told so first, and costs its worker only if it does not end in time.

use super::Scheduler;
use super::interface::{Action, JobId, Seq, WorkerId};
use super::worker::{KillReason, Warning};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// Ends the running item of the chunk `seq`, or all of the chunk: at once, or after the grace of the job. The worker is
    /// probed when that is over.
    pub(super) fn end_running(
        &mut self,
        worker: WorkerId,
        job: JobId,
        seq: Seq,
        item: Option<u32>,
        reason: KillReason,
    ) {
        let grace = self.counted(self.jobs.get(job).map(|job| job.spec.grace)).unwrap_or(0);
        if grace == 0 {
            return self.kill(worker, reason);
        }
        // An item that was told with all others is not told again: that would give it another grace, time after time.
        let covers = |told: &Warning| told.seq == seq && (told.item.is_none() || told.item == item);
        let told = self.workers[worker].warning.filter(covers);
        let until = match told {
            Some(told) => told.until,
            None => {
                let until = self.now.saturating_add(grace);
                self.workers[worker].warning = Some(Warning { seq, item, until });
                self.actions.push_back(Action::Warn { worker, seq, item });
                until
            }
        };
        // Looked at when the worker is probed, which a deadline of its own makes happen in time.
        if until <= self.now {
            self.kill(worker, reason);
        } else {
            self.probe_by(worker, until);
        }
    }

    /// Has the worker probed by then, or before if it is to be.
    pub(super) fn probe_by(&mut self, worker: WorkerId, at: Nanos) {
        // A probe that is due has just been made.
        let earlier = self.workers[worker].deadline.filter(|deadline| *deadline > self.now);
        self.probe_at(worker, earlier.map_or(at, |deadline| deadline.min(at)));
    }

    #[cfg(test)]
    pub(super) fn never_ends_grace(&mut self) {
        let warnings = self.workers.values_mut().filter_map(|state| state.warning.as_mut());
        warnings.for_each(|warning| warning.until = Nanos::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{Begun, JobSpec, SchedulerConfig};
    use super::*;

    const GRACE: Nanos = 1_000_000;

    fn busy(spec: JobSpec) -> (Scheduler<()>, JobId) {
        let config = SchedulerConfig::of(1);
        let mut scheduler = Scheduler::new(config, 1);
        scheduler.launched(WorkerId(0));
        scheduler.ready(WorkerId(0));
        let job = scheduler.call(spec, |_| ());
        while scheduler.next_action().is_some() {}
        (scheduler, job)
    }

    /// How many warnings and kills there are until `now`, while the worker stays at its item.
    fn until(scheduler: &mut Scheduler<()>, now: Nanos) -> (u32, u32) {
        let (mut warnings, mut kills, mut ticks) = (0, 0, 0);
        loop {
            while let Some(action) = scheduler.next_action() {
                match action {
                    Action::Warn { .. } => warnings += 1,
                    Action::Kill { .. } => kills += 1,
                    Action::Recall { worker, seq, items, .. } => scheduler.recalled(worker, seq, items),
                    Action::Probe { worker } => scheduler.probed(worker, Some((Begun { seq: Seq(0), item: 0 }, 1))),
                    _ => {}
                }
            }
            let Some(at) = scheduler.wake_at().filter(|at| *at <= now) else { return (warnings, kills) };
            ticks += 1;
            assert!(ticks < 10, "it looks at the clock all the time");
            scheduler.tick(at);
        }
    }

    #[test]
    fn a_cancelled_item_is_told_first_and_killed_when_its_grace_is_over() {
        let (mut scheduler, job) = busy(JobSpec { grace: GRACE, ..JobSpec::default() });
        assert!(scheduler.cancel(job, true));
        assert_eq!(until(&mut scheduler, GRACE - 1), (1, 0));
        assert_eq!(until(&mut scheduler, GRACE), (0, 1));
    }

    #[test]
    fn one_that_ends_in_its_grace_costs_no_worker() {
        let (mut scheduler, job) = busy(JobSpec { grace: GRACE, ..JobSpec::default() });
        assert!(scheduler.cancel(job, true));
        assert_eq!(until(&mut scheduler, GRACE / 2), (1, 0));
        scheduler.replied(WorkerId(0), Seq(0), 1, true, 0);
        assert_eq!(until(&mut scheduler, 10 * GRACE), (0, 0));
    }

    #[test]
    fn a_time_limit_within_the_grace_is_kept() {
        let limit = Some(GRACE / 2);
        let (mut scheduler, job) = busy(JobSpec { grace: GRACE, timeout: limit, ..JobSpec::default() });
        assert!(scheduler.cancel(job, true));
        assert_eq!(until(&mut scheduler, GRACE / 2 + 1), (1, 1));
    }

    /// First one of its calls is cancelled, then the whole job.
    #[test]
    fn grace_has_an_end_also_if_it_is_cancelled_twice() {
        let (mut scheduler, job) = busy(JobSpec { grace: GRACE, ..JobSpec::default() });
        scheduler.join(job, true);
        assert!(scheduler.cancel_call(job, 0));
        assert_eq!(until(&mut scheduler, GRACE / 2), (1, 0));
        scheduler.set_now(GRACE / 2);
        assert!(scheduler.cancel(job, true));
        assert_eq!(until(&mut scheduler, 2 * GRACE), (1, 1));
    }

    #[test]
    fn without_grace_it_is_killed_at_once() {
        let (mut scheduler, job) = busy(JobSpec::default());
        assert!(scheduler.cancel(job, true));
        assert_eq!(until(&mut scheduler, 0), (0, 1));
    }
}
