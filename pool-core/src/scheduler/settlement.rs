//! Events of replies: the items that they settle, the items that go back to the queue, and the end of a job.

use super::Scheduler;
use super::interface::{Action, JobId, ProtocolViolation, Seq, WorkerId};
use super::worker::{Range, SentChunk};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// The job and the first item that a reply about the next `items` items of the chunk `seq` is about. With `last` the
    /// worker ends the chunk, and all items must be answered unless there was a recall.
    #[inline]
    pub(crate) fn resolve_reply(
        &self,
        worker: WorkerId,
        seq: Seq,
        items: u32,
        last: bool,
    ) -> Result<(JobId, u64), ProtocolViolation> {
        let sent = self.workers[worker].in_flight.front().filter(|sent| sent.seq == seq).ok_or(ProtocolViolation)?;
        let end = sent.settled.checked_add(items).ok_or(ProtocolViolation)?;
        if end > sent.range.items || (last && end < sent.range.items && !sent.was_recalled) {
            return Err(ProtocolViolation);
        }
        Ok((sent.range.job, sent.next_item()))
    }

    /// The next `items` items of the chunk `seq` have been delivered; with `last`, the worker is through with the
    /// chunk, having spent `elapsed` on it. The reply must have been [resolved](Scheduler::resolve_reply).
    #[inline]
    pub(crate) fn replied(&mut self, worker: WorkerId, seq: Seq, items: u32, last: bool, elapsed: Nanos) {
        let now = self.now;
        let state = &mut self.workers[worker];
        state.heard = now;
        let sent = state.in_flight.front_mut().expect("the reply was resolved");
        debug_assert_eq!(sent.seq, seq);
        let (job, first) = (sent.range.job, sent.next_item());
        sent.settled += items;
        self.settle(job, first, items);
        if last {
            let state = &mut self.workers[worker];
            let sent = state.in_flight.pop_front().expect("it was there above");
            state.deadline = None;
            state.idle_deaths = 0;
            if sent.settled > 0
                && let Some(job) = self.jobs.get(job)
            {
                self.paces[job.spec.task as usize].learn(sent.settled, elapsed);
            }
            self.chunk_ended(&sent);
            self.after_chunk(worker);
        }
        self.expect_leave(worker);
        self.finish_if_done(job);
    }

    /// The failed attempts that were charged to an unsettled item.
    pub(crate) fn blamed_workers(&self, id: JobId, item: u64) -> u32 {
        self.jobs.get(id).and_then(|job| job.records.get(&item)).map_or(0, |record| record.blamed_workers)
    }

    /// The failure of an item has been delivered.
    pub(crate) fn failed(&mut self, id: JobId, item: u64) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return };
        job.unsettled -= 1;
        self.unsettled -= 1;
        // A cancelled item is remembered until it comes back from its worker.
        if !job.has_cancelled(item) {
            job.records.remove(&item);
        }
        self.finish_if_done(id);
    }

    /// A worker has ended a chunk, and may have had its share of items.
    #[inline]
    fn after_chunk(&mut self, worker: WorkerId) {
        self.full = false;
        let spent = self.config.max_tasks_per_worker.is_some_and(|max| self.workers[worker].served >= max);
        if spent && self.workers[worker].in_flight.is_empty() {
            self.quit(worker);
        }
        if let Some(sent) = self.workers[worker].in_flight.front() {
            let job = sent.range.job;
            self.watch(worker, job);
        }
        self.dispatch();
        self.retire_if_idle(worker);
    }

    /// These items of the job have been answered.
    #[inline]
    fn settle(&mut self, id: JobId, first: u64, items: u32) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.record.is_some()) else { return };
        let items = u64::from(items) - job.forget(first, items);
        debug_assert!(job.unsettled >= items);
        job.unsettled -= items;
        self.unsettled -= items;
    }

    #[inline]
    pub(super) fn finish_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.unsettled > 0 || job.open {
            if self.joiners > 0 {
                self.seal_idle_lazy();
            }
            return;
        }
        // A chunk that was taken back whole may still be in flight as an empty request; the job does not wait for it.
        let record = job.record.take();
        if job.in_flight == 0 {
            self.jobs.remove(id);
        }
        if let Some(record) = record {
            self.actions.push_back(Action::Finish { record });
        }
        self.wind_down();
    }

    #[inline]
    pub(super) fn in_flight_ended(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.in_flight -= 1;
        }
    }

    /// A worker has ended a chunk; items that it left go back to the queue.
    #[inline]
    fn chunk_ended(&mut self, sent: &SentChunk) {
        self.in_flight_ended(sent.range.job);
        self.give_back(sent);
    }

    #[inline]
    pub(super) fn give_back(&mut self, sent: &SentChunk) {
        let left = sent.range.items - sent.settled;
        if left > 0 {
            let first = sent.next_item();
            self.requeue(Range { job: sent.range.job, first, items: left });
        }
    }

    /// Puts the items back to the front of the queue, without the cancelled ones.
    pub(super) fn requeue(&mut self, mut range: Range) {
        let Some(job) = self.jobs.get_mut(range.job).filter(|job| job.record.is_some()) else { return };
        while range.items > 0 {
            let (before, after) = match job.last_cancelled(range.first..range.end()) {
                Some(item) => {
                    job.records.remove(&item);
                    range.without(item)
                }
                None => (Range { items: 0, ..range }, range),
            };
            if after.items > 0 {
                job.queued += u64::from(after.items);
                self.queue.push_front(after);
            }
            range = before;
        }
    }
}
