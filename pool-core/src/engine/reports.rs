//! Reports of running items: handed to the job's queue, with the order for the worker how to go on.

use std::sync::Arc;

use pool_ipc::Flow;

use super::Engine;
use crate::job::Job;
use crate::job::reports::{Intake, RawReport, Reports};
use crate::job::waiters::Waiter;
use crate::lane::messages::ReportType;
use crate::lane::reply::Reply;
use crate::scheduler::{JobId, ProtocolViolation, Seq, WorkerId};

/// Reports of an item that are taken in under one lock of their queue.
const REPORTS_PER_INTAKE: usize = 256;

impl Engine {
    pub(super) fn take_report(
        &mut self,
        worker: WorkerId,
        of: ReportType,
        reply: Reply,
    ) -> Result<(), ProtocolViolation> {
        let Reply { seq, mut body, .. } = reply;
        if self.workers[worker].is_starting() {
            // Nobody can listen to an initializer, so an honest worker does not report from there.
            return Err(ProtocolViolation);
        }
        // Values are sent one by one here, so the first item without one is the item that runs.
        let (job, item) = self.scheduler.resolve_reply(worker, Seq(seq), 0, false)?;
        let attempt = self.scheduler.blamed_workers(job, item) + 1;
        let reports = match self.scheduler.record(job).map(|record| record.reports.as_ref()) {
            // The job has ended, and the worker does not know yet.
            None => None,
            Some(None) => return Err(ProtocolViolation),
            Some(Some(reports)) => Some(Arc::clone(reports)),
        };
        let pid = self.workers[worker].lane.as_ref().map_or(0, |lane| lane.pid);
        let origin = self.origin_worker(worker, pid);
        let lane = self.lane(worker).expect("it has just spoken");
        let mut intake = reports.as_ref().map(Reports::intake);
        // The ones behind it are taken along: most of the cost of a report is on the way here.
        for _ in 0..REPORTS_PER_INTAKE {
            let bytes = lane.copy_report(&mut body);
            let length = bytes.len();
            let report = RawReport { item, attempt, worker: origin, of, bytes };
            let flow = intake.as_mut().map_or(Flow::Drop, |intake| intake.push(report));
            if !lane.release_report(body, length, seq, flow) {
                // It sends reports without end, whatever it is told.
                return Err(ProtocolViolation);
            }
            match lane.next_report(seq, of) {
                Some(next) => body = next,
                None => break,
            }
        }
        self.accounts.deferred.woken.extend(intake.and_then(Intake::finish).map(Waiter::Callback));
        Ok(())
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
