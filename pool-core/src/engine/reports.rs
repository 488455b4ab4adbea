//! Reports of running items: handed to the job's queue, with the order for the worker how to go on.

use std::sync::Arc;

use pool_ipc::Flow;

use super::Engine;
use crate::codec::bytes::Bytes;
use crate::job::Job;
use crate::job::reports::{RawReports, Reports};
use crate::job::waiters::Waiter;
use crate::lane::reply::Reply;
use crate::scheduler::{JobId, ProtocolViolation, Seq, WorkerId};

impl Engine {
    /// Takes in a record of reports.
    pub(super) fn take_reports(&mut self, worker: WorkerId, reply: Reply) -> Result<(), ProtocolViolation> {
        let Reply { seq, mut body, .. } = reply;
        let lane = self.lane(worker).expect("it has just spoken");
        let bytes = lane.copy_reports(&mut body);
        let length = bytes.len();
        let flow = self.queue_reports(worker, seq, bytes)?;
        let lane = self.lane(worker).expect("it has just spoken");
        // One that sends reports without end, whatever it is told, is no honest worker.
        lane.release_reports(body, length, seq, flow).then_some(()).ok_or(ProtocolViolation)
    }

    /// Takes in the reports that the worker has written and not published, when all replies have been taken in. Then wakes it, as
    /// it may wait for room or for an order.
    #[cold]
    pub(super) fn take_held_reports(&mut self, worker: WorkerId) {
        if self.try_held_reports(worker).is_err() {
            self.disbelieve(worker);
        } else if let Some(lane) = self.lane(worker) {
            lane.wake();
        }
    }

    fn try_held_reports(&mut self, worker: WorkerId) -> Result<(), ProtocolViolation> {
        let Some((seq, item)) = self.scheduler.current_chunk(worker) else { return Ok(()) };
        let Some(bytes) = self.lane(worker).and_then(|lane| lane.take_held_reports(seq.0, item)) else { return Ok(()) };
        let length = bytes.len();
        let flow = self.queue_reports(worker, seq.0, bytes)?;
        let lane = self.lane(worker).expect("looked at above");
        lane.answer_reports(length, seq.0, flow).then_some(()).ok_or(ProtocolViolation)
    }

    /// Queues reports of the item that runs. Returns how the worker goes on.
    fn queue_reports(&mut self, worker: WorkerId, seq: u32, bytes: Bytes) -> Result<Flow, ProtocolViolation> {
        if self.workers[worker].is_starting() {
            // Nobody can listen to an initializer, so an honest worker does not report from there.
            return Err(ProtocolViolation);
        }
        // Values are sent one by one here, so the first item without one is the item that runs.
        let (job, item) = self.scheduler.resolve_reply(worker, Seq(seq), 0, false)?;
        let attempt = self.scheduler.blamed_workers(job, item) + 1;
        let reports = match self.scheduler.record(job).map(|record| record.reports.as_ref()) {
            // The job has ended, and the worker does not know yet.
            None => return Ok(Flow::Drop),
            Some(None) => return Err(ProtocolViolation),
            Some(Some(reports)) => Arc::clone(reports),
        };
        let pid = self.workers[worker].lane.as_ref().map_or(0, |lane| lane.pid);
        let origin = self.origin_worker(worker, pid);
        let (flow, run) = reports.push(RawReports { item, attempt, worker: origin, bytes });
        self.accounts.deferred.woken.extend(run.map(Waiter::Callback));
        Ok(flow)
    }

    /// Tells all workers of the job how to go on with their reports, since that has changed.
    pub(crate) fn resume_reports(&mut self, job: JobId) {
        let flow =
            self.scheduler.record(job).and_then(|record| record.reports.as_deref()).map_or(Flow::Drop, Reports::flow);
        // A look at all workers, since nobody counts which ones hold; it happens once for half a queue of reports.
        for worker in self.workers.ids() {
            let Some((seq, _)) = self.scheduler.current_chunk(worker) else { continue };
            let front = self.scheduler.resolve_reply(worker, seq, 0, false);
            if front.is_ok_and(|(of, _)| of == job)
                && let Some(lane) = self.lane(worker)
            {
                lane.order_reports(seq.0, flow);
                // It may sleep until the order changes.
                lane.wake();
            }
        }
    }

    /// The job ends, and so do its reports.
    #[inline]
    pub(super) fn end_reports(&mut self, record: &mut Job) {
        if let Some(reports) = record.reports.take() {
            // The queue outlives the job: the listener still hears all that has come.
            self.accounts.deferred.woken.extend(reports.end().map(Waiter::Callback));
            self.resume_reports(reports.job);
        }
    }
}
