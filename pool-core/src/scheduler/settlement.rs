//! Events of replies: the items that they settle, the items that go back to the queue, and the end of a job.

use super::Scheduler;
use super::flow::FlowId;
use super::interface::{Action, EndedChunk, FailureCause, JobId, ProtocolViolation, Seq, WorkerId};
use super::job::JobEntry;
use super::worker::{Range, SentChunk};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    /// Finds the job and the first item of a reply about the next `items` items of the chunk `seq`. With `last` the
    /// worker ends the chunk, and all items must be answered unless there was a recall, or other machines gave some back.
    #[inline]
    pub(crate) fn resolve_reply(
        &self,
        worker: WorkerId,
        seq: Seq,
        items: u32,
        last: bool,
    ) -> Result<(JobId, u64), ProtocolViolation> {
        let sent = self.workers[worker].in_flight.front().filter(|sent| sent.seq == seq).ok_or(ProtocolViolation)?;
        // The count is the worker's word: an overflow must not pass as a small number.
        let end = sent.settled.checked_add(items).ok_or(ProtocolViolation)?;
        let may_be_left = || sent.was_recalled || self.is_remote();
        if end > sent.range.items || (last && end < sent.range.items && !may_be_left()) {
            return Err(ProtocolViolation);
        }
        Ok((sent.range.job, sent.next_item()))
    }

    /// The next `items` items of the chunk `seq` have been delivered; with `last`, the worker is through with the
    /// chunk, having spent `elapsed` on it. The reply must have been [resolved](Scheduler::resolve_reply). Returns the chunk
    /// if it has ended.
    #[inline]
    pub(crate) fn replied(
        &mut self,
        worker: WorkerId,
        seq: Seq,
        items: u32,
        last: bool,
        elapsed: Nanos,
    ) -> Option<EndedChunk> {
        let now = self.now;
        let state = &mut self.workers[worker];
        state.heard = now;
        let sent = state.in_flight.front_mut().expect("the reply was resolved");
        debug_assert_eq!(sent.seq, seq);
        let (job, first) = (sent.range.job, sent.next_item());
        sent.settled += items;
        self.settle(job, first, items);
        let mut ended = None;
        if last {
            let state = &mut self.workers[worker];
            let sent = state.in_flight.pop_front().expect("it was there above");
            state.deadline = None;
            // It has done something, so a death from now on is no sign of a bad start.
            state.idle_deaths = 0;
            state.ahead = state.ahead.saturating_sub(sent.time);
            // A chunk that was taken back whole says nothing about the time of an item.
            if sent.settled > 0
                && let Some(JobEntry { spec, .. }) = self.jobs.get(job)
            {
                self.tasks[spec.task as usize].pace.learn(sent.settled, elapsed);
                // For the counters: all of it has just been looked at.
                let (task, label, is_calls) = (spec.task, spec.label, spec.calls);
                ended = Some(EndedChunk {
                    job: sent.range.job,
                    task,
                    label,
                    is_calls,
                    first: sent.range.first,
                    items: sent.settled,
                });
            }
            self.correct_charge(&sent, elapsed);
            // The next chunks of the same task will take as long, and were sent for less.
            if self.is_contended() && elapsed > 2 * sent.time {
                self.recall_underestimated(worker);
            }
            // Before new chunks are sent, so that items that were left go first.
            self.chunk_ended(&sent);
            self.after_chunk(worker);
        }
        self.expect_leave(worker);
        // Last, since it may remove the job that the lines above look up.
        self.finish_if_done(job);
        ended
    }

    /// The failed attempts that an unsettled item is blamed for.
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
        if self.workers[worker].in_flight.is_empty() {
            self.idle.insert(worker);
            self.busy.remove(worker);
        }
        self.note_room(worker);
        // Only when nothing is in flight: until then a recall takes items off its share again.
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
        // A cancelled item was settled when it was cancelled, and must not count twice.
        let items = u64::from(items) - job.forget(first, items);
        debug_assert!(job.unsettled >= items);
        job.unsettled -= items;
        self.unsettled -= items;
    }

    #[inline]
    pub(super) fn finish_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.unsettled > job.dropped || job.open {
            // This may have been the last pending item that a join waited for beside lazy jobs.
            if self.joiners > 0 {
                self.seal_idle_lazy();
            }
            return;
        }
        if job.dropped > 0 || job.is_cut_off {
            self.abandon(id, FailureCause::Cancelled);
            return self.wind_down();
        }
        // A chunk that was taken back whole may still be in flight as an empty request; the job does not wait for it.
        let record = job.record.take();
        let (in_flight, is_limited) = (job.in_flight, job.spec.max_concurrent.is_some());
        if job.flow.is_some() {
            self.retire_flow(id);
            if is_limited {
                // Items of its task may have waited behind it.
                self.dispatch();
            }
        }
        // Else the entry stays: the empty request refers to it until it is answered.
        if in_flight == 0 {
            self.jobs.remove(id);
        }
        if let Some(record) = record {
            self.actions.push_back(Action::Finish { job: id, record });
        }
        self.wind_down();
    }

    #[inline]
    pub(super) fn in_flight_ended(&mut self, sent: &SentChunk) {
        let id = sent.range.job;
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.in_flight -= 1;
        if sent.occupies {
            self.release_chunk(id);
        }
    }

    /// A worker has ended a chunk; items that it left go back to the queue.
    #[inline]
    fn chunk_ended(&mut self, sent: &SentChunk) {
        self.in_flight_ended(sent);
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
        // Only a worker that lies leaves an item that is for it alone, and no other may run it.
        if job.spec.pinned {
            return self.fail_unrun(None, range);
        }
        let (id, priority) = (range.job, job.spec.priority);
        let flow = if job.flow.is_some() { FlowId::Job(id) } else { FlowId::Calls(priority) };
        let mut is_queued = false;
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
                let own = job.flow.as_deref_mut();
                own.unwrap_or(&mut self.calls[priority as usize]).queue.push_front(after);
                is_queued = true;
            }
            // From the end to the front, so that each part lands before the one behind it.
            range = before;
        }
        if is_queued {
            self.note_queued(flow, priority);
        }
    }
}
