//! A pool of which the items run on other machines: limits are counted there, and chunks are long.

#[cfg(feature = "remote")]
use std::ops::Range;

use super::Scheduler;
#[cfg(feature = "remote")]
use super::interface::{JobId, WorkerId};
#[cfg(feature = "remote")]
use super::job::ItemRecord;
use super::tuning::{CHUNK_NS, REMOTE_CHUNK_NS};
use crate::units::Nanos;

impl<P> Scheduler<P> {
    #[inline]
    pub(crate) fn is_remote(&self) -> bool {
        #[cfg(feature = "remote")]
        return self.is_remote;
        #[cfg(not(feature = "remote"))]
        false
    }

    /// Work that one chunk of a map should hold.
    #[inline]
    pub(super) fn chunk_ns(&self) -> Nanos {
        if self.is_remote() { REMOTE_CHUNK_NS } else { CHUNK_NS }
    }

    /// The limit, if it is counted here.
    #[inline]
    pub(super) fn counted(&self, limit: Option<Nanos>) -> Option<Nanos> {
        limit.filter(|_| !self.is_remote())
    }
}

#[cfg(feature = "remote")]
impl<P> Scheduler<P> {
    /// The same, of workers that have other machines run the items.
    pub(crate) fn of_remote(self) -> Self {
        Scheduler { is_remote: true, ..self }
    }

    /// As [`panicked`](Scheduler::panicked), of an item that has cost a worker on another machine, or was lost on the way.
    pub(crate) fn lost(&mut self, worker: WorkerId) -> bool {
        self.retry_next(worker, |_| true)
    }

    /// Notes that the next attempt at these items is that of this number: the others were another pool's.
    pub(crate) fn resume(&mut self, id: JobId, items: Range<u64>, attempt: u32) {
        // Items without a history have none made for them: a map may have millions.
        if let Some(job) = self.jobs.get_mut(id).filter(|_| attempt > 1) {
            let record = ItemRecord { blamed_workers: attempt - 1, ..ItemRecord::default() };
            job.records.extend(items.map(|item| (item, record)));
        }
    }
}
