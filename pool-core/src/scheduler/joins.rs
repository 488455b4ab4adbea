//! Waiting for the end, which an input that is pulled with the results must not put off for ever.

use super::Scheduler;
use super::interface::State;

impl<P> Scheduler<P> {
    /// A caller begins to wait for the end for a limited time: if nothing but lazy jobs without pending items is left, they
    /// get no more. As long as there is something else to wait for they go on, since the wait may end before.
    pub(crate) fn begin_join(&mut self) {
        self.joiners += 1;
        // Perhaps nothing else is left already, and no further event would notice it.
        self.seal_idle_lazy();
    }

    /// A caller that [began to wait](Scheduler::begin_join) has given up.
    pub(crate) fn end_join(&mut self) {
        self.joiners -= 1;
    }

    pub(super) fn seal_idle_lazy(&mut self) {
        // Only a closed pool: an open one may get other work, which would be worth waiting for.
        if self.joiners > 0 && self.unsettled == 0 && self.state == State::Closed {
            // A map that is still being filled may bring more items, and lazy jobs may go on meanwhile.
            let mut open = self.jobs.ids().into_iter().filter_map(|id| self.jobs.get(id)).filter(|job| job.open);
            if open.all(|job| job.spec.lazy) {
                self.seal_lazy();
            }
        }
    }

    /// Lazy jobs get no more items: `join` does not wait for an iterator to be pulled.
    pub(crate) fn seal_lazy(&mut self) {
        for id in self.jobs.ids() {
            if self.jobs.get(id).is_some_and(|job| job.spec.lazy) {
                self.seal(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface::{JobId, JobSpec, SchedulerConfig};
    use super::*;

    /// A closed pool without workers that has a lazy job, a map, and an item of each.
    fn closed() -> (Scheduler<()>, JobId, JobId) {
        let config = SchedulerConfig::of(1);
        let mut scheduler = Scheduler::new(config, 1);
        let lazy = scheduler.submit(JobSpec { lazy: true, ..JobSpec::default() }, |_| ());
        let map = scheduler.submit(JobSpec::default(), |_| ());
        assert!(scheduler.add_items(lazy, 0, 1) && scheduler.add_items(map, 0, 1));
        scheduler.close();
        (scheduler, lazy, map)
    }

    #[test]
    fn a_join_that_is_given_up_leaves_lazy_jobs_open() {
        let (mut scheduler, lazy, map) = closed();
        scheduler.begin_join();
        scheduler.end_join();
        scheduler.failed(lazy, 0);
        scheduler.failed(map, 0);
        scheduler.seal(map);
        assert!(scheduler.add_items(lazy, 1, 1), "it goes on");
    }

    #[test]
    fn a_join_ends_lazy_jobs_when_nothing_else_is_left() {
        let (mut scheduler, lazy, map) = closed();
        scheduler.begin_join();
        scheduler.failed(lazy, 0);
        assert!(scheduler.add_items(lazy, 1, 1), "an item of the map is pending");
        scheduler.failed(map, 0);
        scheduler.failed(lazy, 1);
        assert!(scheduler.add_items(lazy, 2, 1), "the map may get more items");
        scheduler.seal(map);
        assert!(scheduler.add_items(lazy, 3, 1), "its own item is pending");
        scheduler.failed(lazy, 2);
        scheduler.failed(lazy, 3);
        assert!(!scheduler.add_items(lazy, 4, 1), "nobody waits for an iterator to be pulled");
        assert!(!scheduler.has_work());
    }
}
