//! The origins of outcomes, for callers that ask for them.

use super::Engine;
use crate::error::Error;
use crate::job::origin::{Origin, OriginWorker};
use crate::lane::messages::ItemTimes;
use crate::process::death::Death;
use crate::scheduler::{JobId, WorkerId};
use crate::units::{Nanos, nanos};

impl Engine {
    /// The origin of an outcome that the worker has sent with the times of its item; `None` if the caller has not asked
    /// for it. `tried` is the number of attempts, if it is an error's.
    #[cold]
    pub(super) fn origin(
        &self,
        worker: WorkerId,
        job: JobId,
        item: u64,
        times: ItemTimes,
        tried: Option<u32>,
    ) -> Option<Box<Origin>> {
        // Asked first, since most callers do not ask for origins.
        let given = self.scheduler.record(job)?.blocks.given_ns(item)?;
        let pid = self.workers[worker].lane.as_ref()?.pid;
        // An error has counted its attempts; those of a value are counted here, the successful one included.
        let attempts = tried.unwrap_or_else(|| self.scheduler.blamed_workers(job, item) + 1);
        // The begin is the worker's word; one before the submission must not become a huge number.
        let waited_ns = Some(times.begun_ns.saturating_sub(given));
        let worker = Some(self.origin_worker(worker, pid));
        Some(Box::new(Origin { worker, attempts, waited_ns, ran_ns: Some(times.ran_ns) }))
    }

    /// The origin of an error by the death of a worker, or of one that no worker had a part in.
    #[cold]
    pub(super) fn origin_of_death(
        &self,
        worker: Option<WorkerId>,
        job: JobId,
        item: u64,
        death: Option<&Death>,
        error: &Error,
    ) -> Option<Box<Origin>> {
        let given = self.scheduler.record(job)?.blocks.given_ns(item)?;
        let Some((worker, death)) = worker.zip(death) else { return Some(Box::default()) };
        // An older time belongs to an item of another job: only items with a time limit or with asked times note
        // theirs.
        let since = death.since.filter(|since| *since >= given);
        Some(Box::new(Origin {
            worker: Some(self.origin_worker(worker, death.pid)),
            attempts: error.attempts(),
            waited_ns: since.map(|since| since - given),
            ran_ns: error.ran().map(nanos),
        }))
    }

    pub(super) fn origin_worker(&self, worker: WorkerId, pid: u32) -> OriginWorker {
        // The incarnations are counted when they are asked for, so that of this process is one less.
        let incarnation = self.workers[worker].incarnations.saturating_sub(1);
        OriginWorker { id: worker.index(), incarnation, pid }
    }

    /// When the item of the job began, by the note of the worker that died of it, if it noted that.
    pub(super) fn noted_begin(&self, job: JobId, item: u64, since: Nanos) -> Option<Nanos> {
        let record = self.scheduler.record(job)?;
        let given = record.blocks.given_ns(item);
        // Others do not note their start, since reading the clock takes longer than a short item.
        (record.time_limit > 0 || given.is_some_and(|given| given <= since)).then_some(since)
    }
}
