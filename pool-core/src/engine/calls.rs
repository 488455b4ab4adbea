//! Calls: taken into the job of the ones before them, and cancelled one by one.

use std::sync::Arc;

use super::Engine;
use crate::error::Error;
use crate::host::Shared;
use crate::job::batch::SlotRef;
use crate::job::{Call, Payload};
use crate::scheduler::{JobId, Terms};

/// Replies are taken in at the latest after so many submissions, should the submitting thread do nothing else.
const SUBMISSIONS_PER_ROUND: u64 = 128;

impl Engine {
    /// Takes a call of the pool's.
    ///
    /// # Errors
    ///
    /// Why the pool takes none.
    #[inline]
    pub(crate) fn call(&mut self, shared: &Arc<Shared>, terms: Terms, call: Call) -> Result<SlotRef, Error> {
        if (self.counts.0.jobs_submitted + 1).is_multiple_of(SUBMISSIONS_PER_ROUND) {
            self.route();
        }
        self.check_open().map_err(|error| error.of_task(call.entry))?;
        if self.scheduler.unsettled() == 0 {
            self.wake_early();
        }
        self.counts.submitted();
        let task = terms.task as usize;
        if self.calls.len() <= task {
            self.calls.resize(task + 1, None);
        }
        if let Some(job) = self.calls[task]
            && let Some(number) = self.scheduler.next_call(job, terms)
            && let Some(payload) = self.scheduler.payload_mut(job)
        {
            let (slot, beside) = payload.blocks.push_call(shared, job, number, call);
            self.scheduler.join(job, beside);
            return Ok(slot);
        }
        let mut slot = None;
        let spare = self.spare.take();
        let job = self.scheduler.call(terms, |job| {
            let mut payload = Payload::of_calls(call.entry, terms.timeout.unwrap_or(0), spare);
            slot = Some(payload.blocks.push_call(shared, job, 0, call).0);
            payload
        });
        self.calls[task] = Some(job);
        Ok(slot.expect("the payload has been made"))
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
        let Some(number) = call else { return self.scheduler.cancel(job, true) };
        let is_there = self.scheduler.payload(job).is_some_and(|payload| payload.blocks.has_call(number));
        is_there && self.scheduler.cancel_call(job, number)
    }

    /// Whether each of the job's items has an outcome of its own, so that each is answered alone.
    #[inline]
    pub(super) fn has_calls(&self, job: JobId) -> bool {
        self.scheduler.payload(job).is_some_and(|payload| !payload.is_map())
    }
}
