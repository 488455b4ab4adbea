//! Another attempt for an item that has cost a worker, or has panicked: not at once, and in whichever worker has room.
//!
//! Until its time has come such an item is in [`Scheduler::retries`] and nowhere else: no worker is kept for it, and
//! items behind it in the queue go on.

use super::Scheduler;
use super::interface::{JobId, JobSpec, WorkerId};
use super::tuning::{NOT_STARTED_MAX, back_off_pause};
use super::worker::Range;

impl<P> Scheduler<P> {
    /// The next item of the chunk that the worker is at has panicked. True if it is tried again: then nothing is
    /// delivered, and [`Scheduler::replied`] is told of no item. The reply must have
    /// been [resolved](Scheduler::resolve_reply).
    pub(crate) fn panicked(&mut self, worker: WorkerId) -> bool {
        self.retry_next(worker, |spec| spec.retry_panics)
    }

    /// Has the next item of the chunk that the worker is at tried again, if its job allows that.
    pub(super) fn retry_next(&mut self, worker: WorkerId, allows: fn(&JobSpec) -> bool) -> bool {
        let sent = self.workers[worker].in_flight.front().expect("the reply was resolved");
        let (id, item) = (sent.range.job, sent.next_item());
        let is_retried = self.jobs.get(id).is_some_and(|job| allows(&job.spec)) && self.defer_retry(id, item);
        if is_retried {
            let sent = self.workers[worker].in_flight.front_mut().expect("it was there above");
            // For the worker it is answered; the next reply is about the item behind it.
            sent.settled += 1;
        }
        is_retried
    }

    /// Has the item wait for its next attempt, if its job goes on and allows one.
    pub(super) fn defer_retry(&mut self, id: JobId, item: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some() && job.spec.retries > 0) else {
            return false;
        };
        let record = job.records.entry(item).or_default();
        // Counted even if there is no further attempt, since the error says how many there were.
        record.blamed_workers += 1;
        // A cancelled item has its outcome, and must not run again.
        if record.blamed_workers > job.spec.retries || record.cancelled {
            return false;
        }
        let due = self.now.saturating_add(back_off_pause(record.blamed_workers));
        record.rests = true;
        self.retries.entry(due).or_default().push(Range { job: id, first: item, items: 1 });
        self.wake_by(due);
        true
    }

    /// Notes that another worker was killed since it did not begin the item; true if these are too many. As a rule it is not
    /// the item's fault, but a task can cause it by overwriting its worker's progress.
    pub(super) fn is_never_begun(&mut self, id: JobId, item: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        let record = job.records.entry(item).or_default();
        record.not_started += 1;
        record.not_started >= NOT_STARTED_MAX
    }

    /// Puts items to the front of the queue when their pause is over.
    pub(super) fn retry_due(&mut self) {
        while let Some(entry) = self.retries.first_entry() {
            let due = *entry.key();
            // Sorted by time, so all others are later still.
            if due > self.now {
                return self.wake_by(due);
            }
            for range in entry.remove() {
                if let Some(record) = self.jobs.get_mut(range.job).and_then(|job| job.records.get_mut(&range.first)) {
                    record.rests = false;
                }
                // At the front: it has waited since before all that is queued.
                self.requeue(range);
            }
        }
    }
}
