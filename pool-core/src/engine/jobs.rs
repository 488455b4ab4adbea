//! Jobs as callers see them: opened, fed, sealed, cancelled; and the pool: closed, terminated, resized, asked.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use super::accounts::{Deferred, Outcome};
use crate::codec::number_buffer::ResultBuffer;
use crate::error::Error;
use crate::job::Job;
use crate::job::batch::{Batch, CompletionRef};
use crate::job::blocks::Block;
use crate::job::owner::Owner;
use crate::scheduler::{JobId, JobSpec, State, WorkerId};
use crate::stats::Stats;
use crate::task::table::Entry;
use crate::units::Nanos;

impl Engine {
    /// Opens a map of no items yet.
    ///
    /// # Errors
    ///
    /// Why the pool takes none.
    pub(crate) fn open_map(
        &mut self,
        owner: &Arc<impl Owner>,
        spec: JobSpec,
        entry: &'static Entry,
        result_buffer: Option<Box<dyn ResultBuffer>>,
    ) -> Result<CompletionRef, Error> {
        self.check_open().map_err(|error| error.of_task(entry.path()))?;
        self.accounts.counts.submitted();
        let mut completion = None;
        self.scheduler.submit(spec, |job| {
            let completion = completion.insert(CompletionRef::new(&Batch::of_map(owner, job), 0));
            Job::of_map(entry, spec.timeout.unwrap_or(0), completion.clone(), result_buffer)
        });
        Ok(completion.expect("the record has been made"))
    }

    /// Gives a map a block of arguments, and the scheduler as many of the `waiting` items as there is `room` for. Memory
    /// for further blocks goes to `spare`. False if the map has ended.
    pub(crate) fn feed(
        &mut self,
        job: JobId,
        block: Option<Block>,
        waiting: &mut VecDeque<(u64, u32)>,
        mut room: u64,
        spare: &mut Vec<Vec<u8>>,
    ) -> bool {
        let Some(record) = self.scheduler.record_mut(job) else { return false };
        if let Some(block) = block {
            record.blocks.push(block, spare);
        }
        let mut accepted = true;
        while let Some((first, items)) = waiting.front_mut().filter(|_| accepted && room > 0) {
            let some = u32::try_from(room).unwrap_or(u32::MAX).min(*items);
            accepted = self.scheduler.add_items(job, *first, some);
            room -= u64::from(some);
            (*first, *items) = (*first + u64::from(some), *items - some);
            if *items == 0 {
                waiting.pop_front();
            }
        }
        self.route();
        accepted
    }

    /// An item of a map has failed before it was fed.
    pub(crate) fn settle_unsent(&mut self) {
        self.accounts.settle(1, Outcome::Failure);
    }

    /// No more items of the map will come.
    pub(crate) fn seal(&mut self, job: JobId) {
        self.scheduler.seal(job);
    }

    /// Cancels all items that no worker has begun, and lets lazy maps get no more. How many items these are.
    pub(crate) fn cancel_pending(&mut self) -> u64 {
        // Replies that are there settle items, which are not counted then.
        self.route();
        self.scheduler.begin_cancel_pending();
        self.act();
        let cancelled = self.scheduler.end_cancel_pending();
        self.act();
        cancelled
    }

    /// Drops all items of a map that no worker has begun; nobody looks at the outcome of the others.
    pub(crate) fn discard(&mut self, job: JobId) {
        self.scheduler.cancel(job, false);
    }

    /// Items that the next chunk of the job has.
    pub(crate) fn chunk_items(&self, job: JobId) -> u32 {
        self.scheduler.chunk_items(job)
    }

    /// Counts results that were taken for values and could not be decoded.
    pub(crate) fn note_undecodable(&mut self, results: u32) {
        self.accounts.counts.undecodable(results);
    }

    // ---- the pool --------------------------------------------------------------------------------------------------

    /// Takes no more jobs.
    pub(crate) fn close(&mut self) {
        self.scheduler.close();
        // Submissions that wait for room must wake, since they will not get any.
        self.accounts.deferred.progress = true;
    }

    /// Ends all jobs now.
    pub(crate) fn terminate(&mut self) {
        self.scheduler.terminate();
    }

    /// Seals the lazy maps, which pull their input as results are taken.
    pub(crate) fn seal_lazy(&mut self) {
        self.scheduler.seal_lazy();
    }

    /// A caller waits for the end for a limited time.
    pub(crate) fn begin_join(&mut self) {
        self.scheduler.begin_join();
    }

    /// The caller waits no longer.
    pub(crate) fn end_join(&mut self) {
        self.scheduler.end_join();
    }

    /// Changes the number of workers.
    ///
    /// # Errors
    ///
    /// Why the pool takes no jobs any more.
    pub(crate) fn resize(&mut self, workers: usize) -> Result<(), Error> {
        self.check_open()?;
        self.scheduler.resize(workers);
        Ok(())
    }

    /// Takes the work that is to be done when the lock is free.
    #[inline]
    pub(crate) fn take_deferred(&mut self) -> Option<Deferred> {
        self.accounts.deferred.take()
    }

    pub(crate) fn state(&self) -> State {
        self.scheduler.state()
    }

    /// Whether all workers have left and none will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.scheduler.is_finished()
    }

    /// Whether the process that was asked for is still wanted.
    pub(crate) fn is_wanted(&self, worker: WorkerId) -> bool {
        self.scheduler.is_wanted(worker)
    }

    /// When the scheduler wants the clock to be looked at.
    #[inline]
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        self.scheduler.wake_at()
    }

    /// The number of workers as it should be.
    pub(crate) fn workers(&self) -> usize {
        self.scheduler.workers()
    }

    /// Items accepted and not settled.
    #[inline]
    pub(crate) fn unsettled(&self) -> u64 {
        self.scheduler.unsettled()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { items_pending: self.scheduler.unsettled(), ..self.accounts.counts.0 }
    }
}

#[cfg(any(test, fuzzing))]
impl Engine {
    /// For a host that lies to its engine.
    pub(crate) fn scheduler(&mut self) -> &mut crate::scheduler::Scheduler<Box<Job>> {
        &mut self.scheduler
    }
}
