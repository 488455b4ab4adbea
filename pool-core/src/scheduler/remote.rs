//! A pool of which the items run on other machines: limits are counted there, and chunks are long.

#[cfg(feature = "remote")]
use std::ops::Range;

use super::Scheduler;
use super::interface::JobId;
#[cfg(feature = "remote")]
use super::interface::WorkerId;
#[cfg(feature = "remote")]
use super::job::ItemRecord;
use super::tuning::{CHUNK_NS, REMOTE_CHUNK_NS};
use crate::priority::Priority;
use crate::units::Nanos;

impl<P> Scheduler<P> {
    #[inline]
    pub(crate) fn is_remote(&self) -> bool {
        #[cfg(feature = "remote")]
        return self.is_remote;
        #[cfg(not(feature = "remote"))]
        false
    }

    /// The priority of the job, if its workers are to be told: other machines have queues of their own.
    #[inline]
    pub(crate) fn told_priority(&self, job: JobId) -> Priority {
        let job = if self.is_remote() { self.jobs.get(job) } else { None };
        job.map_or(Priority::Normal, |job| job.spec.priority)
    }

    /// Work that one chunk of a map should hold.
    #[inline]
    pub(super) fn chunk_ns(&self) -> Nanos {
        // Known when the program is compiled, without the feature.
        if self.is_remote() { REMOTE_CHUNK_NS } else { CHUNK_NS }
    }

    /// The limit, if it is counted here.
    #[inline]
    pub(super) fn counted(&self, limit: Option<Nanos>) -> Option<Nanos> {
        limit.filter(|_| !self.is_remote())
    }
}

#[cfg(feature = "remote")]
impl<P> Scheduler<P> {
    /// The same, of workers that have other machines run the items.
    pub(crate) fn of_remote(self) -> Self {
        Scheduler { is_remote: true, ..self }
    }

    /// As [`panicked`](Scheduler::panicked), of an item that has cost a worker on another machine, or was lost on the way.
    pub(crate) fn lost(&mut self, worker: WorkerId) -> bool {
        self.retry_next(worker, |_| true)
    }

    /// Notes that the next attempt at these items is that of this number: the others were another pool's.
    pub(crate) fn resume(&mut self, id: JobId, items: Range<u64>, attempt: u32) {
        // Items without a history have none made for them: a map may have millions.
        if let Some(job) = self.jobs.get_mut(id).filter(|_| attempt > 1) {
            let record = ItemRecord { blamed_workers: attempt - 1, ..ItemRecord::default() };
            job.records.extend(items.map(|item| (item, record)));
        }
    }
}

#[cfg(all(test, feature = "remote"))]
mod tests {
    use super::super::interface::{Action, JobSpec, SchedulerConfig, Seq};
    use super::*;

    /// A pool of one worker that has this job of four items, which travel together.
    fn busy(spec: JobSpec) -> Scheduler<()> {
        let mut scheduler = Scheduler::new(SchedulerConfig::of(1), 1).of_remote();
        scheduler.launched(WorkerId(0));
        scheduler.ready(WorkerId(0));
        let job = scheduler.submit(JobSpec { chunk_size: Some(4), ..spec }, |_| ());
        scheduler.add_items(job, 0, 4);
        scheduler.seal(job);
        scheduler
    }

    /// The first items and the numbers of the chunks that are sent, and of the kills.
    fn actions(scheduler: &mut Scheduler<()>) -> (Vec<(u64, u32, u32)>, u32) {
        let (mut sent, mut kills) = (Vec::new(), 0);
        while let Some(action) = scheduler.next_action() {
            match action {
                Action::Send { first, items, attempt, .. } => sent.push((first, items, attempt)),
                Action::Kill { .. } | Action::Probe { .. } => kills += 1,
                _ => {}
            }
        }
        (sent, kills)
    }

    fn reply(scheduler: &mut Scheduler<()>, seq: u32, items: u32, last: bool) {
        scheduler.resolve_reply(WorkerId(0), Seq(seq), items, last).expect("it answers what was asked");
        scheduler.replied(WorkerId(0), Seq(seq), items, last, 1000);
    }

    #[test]
    fn limits_are_counted_elsewhere() {
        let mut scheduler = busy(JobSpec { timeout: Some(1000), grace: 10, ..JobSpec::default() });
        scheduler.tick(1 << 60);
        assert_eq!(actions(&mut scheduler), (vec![(0, 4, 1)], 0));
    }

    #[test]
    fn items_that_were_given_back_are_sent_again() {
        let mut scheduler = busy(JobSpec::default());
        assert_eq!(actions(&mut scheduler).0, [(0, 4, 1)]);
        reply(&mut scheduler, 0, 1, true);
        assert_eq!(actions(&mut scheduler).0, [(1, 3, 1)]);
        reply(&mut scheduler, 1, 3, true);
        assert_eq!((actions(&mut scheduler).0, scheduler.unsettled()), (vec![], 0));
    }

    #[test]
    fn a_lost_item_is_tried_again_if_its_job_allows_that() {
        let mut scheduler = busy(JobSpec { retries: 1, ..JobSpec::default() });
        actions(&mut scheduler);
        for (attempt, is_retried) in [(1, true), (2, false)] {
            scheduler.resolve_reply(WorkerId(0), Seq(attempt - 1), 1, false).expect("it answers what was asked");
            assert_eq!(scheduler.lost(WorkerId(0)), is_retried);
            if is_retried {
                reply(&mut scheduler, 0, 3, true);
                scheduler.tick(1 << 60);
                assert_eq!(actions(&mut scheduler).0, [(0, 1, 2)]);
            }
        }
    }

    #[test]
    fn attempts_of_another_pool_count() {
        let mut scheduler = Scheduler::new(SchedulerConfig::of(1), 1);
        let job = scheduler.submit(JobSpec::default(), |_| ());
        scheduler.resume(job, 5..7, 3);
        scheduler.add_items(job, 5, 2);
        scheduler.launched(WorkerId(0));
        scheduler.ready(WorkerId(0));
        assert_eq!(actions(&mut scheduler).0[0], (5, 1, 3));
    }
}
