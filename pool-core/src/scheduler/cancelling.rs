//! Cancelling all that waits, while running items go on.

use super::Scheduler;
use super::flow::Standing;
use super::interface::{Action, FailureCause, JobId};
use super::worker::Range;

impl<P> Scheduler<P> {
    /// First half of cancelling all items that have not begun: lazy jobs get no more, and sent items that are not claimed are
    /// taken back. The shell carries the actions out, and then calls [`Scheduler::end_cancel_pending`].
    pub(crate) fn begin_cancel_pending(&mut self) {
        // Else items that are taken back would be sent to the next worker at once.
        self.holds_back = true;
        // Before the recalls: an input that goes on would bring as many items again.
        for id in self.jobs.ids() {
            if let Some(job) = self.jobs.get_mut(id).filter(|job| job.spec.lazy && job.open) {
                job.is_cut_off = true;
                self.seal(id);
            }
        }
        for worker in self.workers.ids() {
            self.recall_unstarted(worker);
            self.recall_pinned(worker);
        }
    }

    /// Second half: all items that wait for a worker end in [`FailureCause::Cancelled`]. Returns how many. `drop_args` gets
    /// the record of a map with the first and the number of its items that no worker will need: they are pending no more,
    /// though their map ends later.
    pub(crate) fn end_cancel_pending(&mut self, mut drop_args: impl FnMut(&mut P, u64, u32)) -> u64 {
        let mut waiting: Vec<Range> = std::mem::take(&mut self.retries).into_values().flatten().collect();
        for range in &waiting {
            if let Some(record) = self.jobs.get_mut(range.job).and_then(|job| job.records.get_mut(&range.first)) {
                record.rests = false;
            }
        }
        // A resting item is not counted as queued.
        waiting.iter().for_each(|range| self.count_queued(*range));
        // The queues are taken whole: nothing in them will be run, and a search for each item would be quadratic.
        let calls = self.calls.iter_mut().flat_map(|flow| std::mem::take(&mut flow.queue));
        waiting.extend(calls);
        for worker in self.workers.ids() {
            waiting.extend(std::mem::take(&mut self.workers[worker].pinned));
        }
        for id in self.jobs.ids() {
            let Some(flow) = self.jobs.get_mut(id).and_then(|job| job.flow.as_deref_mut()) else { continue };
            waiting.extend(std::mem::take(&mut flow.queue));
            // It has no items left that could wait for a place of its task.
            if flow.standing == Standing::Parked {
                flow.standing = Standing::Idle;
            }
        }
        self.tasks.iter_mut().for_each(|task| task.parked = Default::default());
        self.stale = 0;
        let cancelled = waiting.into_iter().map(|range| self.cancel_waiting(range, &mut drop_args)).sum();
        for id in self.jobs.ids() {
            if self.jobs.get(id).is_some_and(|job| job.dropped > 0) {
                self.finish_if_done(id);
            }
        }
        // Only now: the items that came back from workers have all been cancelled.
        self.holds_back = false;
        self.find_room();
        self.dispatch();
        self.wind_down();
        cancelled
    }

    fn count_queued(&mut self, range: Range) {
        let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { return };
        let is_settled = job.has_cancelled(range.first);
        job.queued += u64::from(range.items) - u64::from(is_settled);
    }

    /// Cancels items that were taken out of the queue. Calls end at once; a map ends when its running items have ended.
    fn cancel_waiting(&mut self, range: Range, drop_args: &mut impl FnMut(&mut P, u64, u32)) -> u64 {
        let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { return 0 };
        // A call has a handle of its own that waits, a map one for all items.
        if !job.spec.calls {
            let items = u64::from(range.items);
            job.queued -= items;
            job.dropped += items;
            // Now and not with the map: its own input may wait for the room that they take.
            self.unsettled -= items;
            job.record.iter_mut().for_each(|record| drop_args(record, range.first, range.items));
            // Their failed attempts do not matter any more.
            job.forget(range.first, range.items);
            return items;
        }
        let mut cancelled = 0;
        for item in range.first..range.end() {
            cancelled += u64::from(self.cancel_waiting_call(range.job, item));
        }
        cancelled
    }

    fn cancel_waiting_call(&mut self, id: JobId, item: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return false };
        // It had its outcome before, and is not counted again.
        if job.records.remove(&item).is_some_and(|record| record.cancelled) {
            return false;
        }
        job.queued -= 1;
        self.actions.push_back(Action::Fail { worker: None, job: id, item, cause: FailureCause::Cancelled });
        true
    }
}
