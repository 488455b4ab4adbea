//! States of the whole pool that callers wait for: nothing is pending; all workers have started.

use super::Scheduler;

impl<P> Scheduler<P> {
    /// Whether nothing is pending. A lazy job without pending items does not count, though it may get more: its results may
    /// never be asked for.
    pub(crate) fn is_idle(&self) -> bool {
        let may_get_items = |id| self.jobs.get(id).is_some_and(|job| job.open && !job.spec.lazy);
        // Counters first: the walk over all jobs is for the rare pool that has open ones and nothing pending.
        self.unsettled == 0 && (self.open_jobs == 0 || !self.jobs.ids().into_iter().any(may_get_items))
    }

    /// Workers that have passed their initializer, in this process or in an earlier one. A worker that has left since it was
    /// idle, or that is being replaced, counts.
    pub(crate) fn started_workers(&self) -> usize {
        self.workers.values().take(self.config.workers).filter(|worker| worker.has_started).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{JobSpec, SchedulerConfig, WorkerId};
    use super::*;

    fn scheduler(workers: usize) -> Scheduler<()> {
        let config = SchedulerConfig::of(workers);
        Scheduler::new(config, 1)
    }

    #[test]
    fn open_maps_are_pending_and_lazy_ones_only_with_items() {
        let mut scheduler = scheduler(1);
        assert!(scheduler.is_idle());
        let map = scheduler.submit(JobSpec::default(), |_| ());
        assert!(!scheduler.is_idle(), "its input may yield more");
        scheduler.seal(map);
        assert!(scheduler.is_idle());
        let lazy = scheduler.submit(JobSpec { lazy: true, ..JobSpec::default() }, |_| ());
        assert!(scheduler.is_idle() && scheduler.add_items(lazy, 0, 1));
        assert!(!scheduler.is_idle());
        scheduler.failed(lazy, 0);
        assert!(scheduler.is_idle());
    }

    #[test]
    fn a_worker_that_has_started_once_counts_until_the_pool_shrinks() {
        let mut scheduler = scheduler(2);
        let ids: Vec<WorkerId> = scheduler.workers.ids().collect();
        for &worker in &ids {
            scheduler.launched(worker);
        }
        assert_eq!(scheduler.started_workers(), 0);
        scheduler.ready(ids[0]);
        assert_eq!(scheduler.started_workers(), 1);
        scheduler.exited(ids[0], None);
        assert_eq!(scheduler.started_workers(), 1, "it is being replaced");
        scheduler.ready(ids[1]);
        assert_eq!(scheduler.started_workers(), 2);
        scheduler.resize(1);
        scheduler.exited(ids[1], None);
        scheduler.resize(2);
        assert_eq!(scheduler.started_workers(), 1, "the place is a new worker's");
    }
}
