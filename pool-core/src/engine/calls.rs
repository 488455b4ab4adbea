//! Calls: taken into the job of the ones before them, and cancelled one by one.
//!
//! After a pause, all memory on the way of a call is cold, and each page of code or data that it touches costs more than the
//! work done there. So the functions on its way are inlined, and a lone call allocates once.

use std::sync::Arc;

use pool_ipc::sys::monotonic_ns;

use super::Engine;
use crate::error::Error;
use crate::job::Job;
use crate::job::batch::CompletionRef;
use crate::job::blocks::Call;
use crate::job::owner::Owner;
use crate::job::reports::Reports;
use crate::scheduler::{JobId, JobSpec};

/// Replies are taken in at the latest after so many submissions, should the submitting thread do nothing else.
const SUBMISSIONS_PER_ROUND: u64 = 128;

impl Engine {
    /// Takes a call of the pool's.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    #[inline]
    pub(crate) fn call(
        &mut self,
        owner: &Arc<impl Owner>,
        mut spec: JobSpec,
        call: Call,
    ) -> Result<CompletionRef, Error> {
        // Before the call: else a thread that only submits would fill the reply rings, and its workers would stop.
        if (self.accounts.counts.0.jobs_submitted + 1).is_multiple_of(SUBMISSIONS_PER_ROUND) {
            self.route();
        }
        self.check_open().map_err(|error| error.of_task(call.entry.path()))?;
        // Only from idle: workers that have something to do are awake.
        if self.scheduler.unsettled() == 0 {
            self.wake_early();
        }
        self.note_submission(&mut spec);
        let task = spec.task as usize;
        if self.calls.len() <= task {
            // Grown as tasks are called: a program may register many tasks and call few.
            self.calls.resize(task + 1, None);
        }
        // The scheduler compares the options: calls that differ in a time limit are not items of one job. A call that may report
        // is a job of its own, so that one listener hears all reports of a job.
        if !spec.reports
            && let Some(job) = self.calls[task]
            && let Some(number) = self.scheduler.next_call(job, spec)
            && let Some(record) = self.scheduler.record_mut(job)
        {
            let (completion, beside) = record.blocks.push_call(owner, job, number, call, None);
            // Taken before `join`, which may send, and with that reborrow the record.
            let change = record.blocks.take_change();
            // Before `join`, which may send, and so may end the call.
            if self.is_logged() {
                self.log_submitted(job, Some(number), spec);
            }
            self.scheduler.join(job, beside);
            self.note_bytes(change);
            return Ok(completion);
        }
        let (mut completion, mut change) = (None, 0);
        let spare = self.spare.take();
        let job = self.scheduler.call(spec, |job| {
            let mut record = Job::of_calls(call.entry, &spec, spare);
            record.reports = spec.reports.then(|| Reports::of_call(owner, job, call.entry));
            completion = Some(record.blocks.push_call(owner, job, 0, call, record.reports.clone()).0);
            change = record.blocks.take_change();
            record
        });
        // The scheduler has only noted its actions, so the record still comes before the end of the call.
        if self.is_logged() {
            self.log_submitted(job, Some(0), spec);
        }
        self.note_bytes(change);
        self.calls[task] = Some(job);
        Ok(completion.expect("the record has been made"))
    }

    /// Wakes the worker that the next call will go to, if it sleeps: it takes longer to wake than the call to be ready.
    #[inline]
    fn wake_early(&mut self) {
        if let Some(lane) = self.scheduler.idle_worker().and_then(|worker| self.lane(worker)) {
            lane.wake_early();
        }
    }

    /// Ends a call, or a whole job; false if it had ended.
    pub(crate) fn cancel(&mut self, job: JobId, call: Option<u64>) -> bool {
        // A map has one handle, so its running items are given up with it.
        // The grace of a running item counts from now, not from the last look at the replies.
        self.scheduler.set_now(monotonic_ns());
        let Some(number) = call else { return self.scheduler.cancel(job, true) };
        // The call may have ended although its job has not, and must not fail a second time.
        let is_there = self.scheduler.record(job).is_some_and(|record| record.blocks.has_call(number));
        is_there && self.scheduler.cancel_call(job, number)
    }

    /// Whether each of the job's items has an outcome of its own, so that each is answered alone.
    #[inline]
    pub(super) fn has_calls(&self, job: JobId) -> bool {
        self.scheduler.record(job).is_some_and(|record| !record.is_map())
    }
}
