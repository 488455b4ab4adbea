//! Jobs as callers see them: opened, fed, sealed, cancelled; and the pool: closed, terminated, resized, asked.

use std::collections::VecDeque;
#[cfg(feature = "remote")]
use std::ops::Range;
use std::sync::Arc;

use super::Engine;
use super::accounts::{Deferred, Notices, Outcome};
use super::room::Ticket;
use crate::codec::number_buffer::ResultBuffer;
use crate::error::Error;
use crate::job::Job;
use crate::job::batch::{Batch, CompletionRef};
use crate::job::block::Block;
use crate::job::blocks::Call;
use crate::job::content::Content;
use crate::job::owner::Owner;
use crate::job::reports::Reports;
use crate::scheduler::{JobId, JobSpec, State, WorkerId};
use crate::seed::derive;
use crate::stats::Stats;
use crate::task::table::Entry;
use crate::units::Nanos;

impl Engine {
    /// Opens a map of no items yet.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn open_map(
        &mut self,
        owner: &Arc<impl Owner>,
        mut spec: JobSpec,
        entry: &'static Entry,
        result_buffer: Option<Box<dyn ResultBuffer>>,
    ) -> Result<CompletionRef, Error> {
        self.check_open().map_err(|error| error.of_task(entry.path()))?;
        // Counted here and not at the first item: an empty map is a job, too.
        self.note_submission(&mut spec);
        let mut completion = None;
        let job = self.scheduler.submit(spec, |job| {
            let reports = spec.reports.then(|| Reports::of_map(owner, job, entry, spec.lazy));
            let completion = completion.insert(CompletionRef::new(&Batch::of_map(owner, job, reports.clone()), 0));
            let mut record = Job::of_map(entry, &spec, completion.clone(), result_buffer);
            record.reports = reports;
            record
        });
        if self.is_logged() {
            self.log_submitted(job, None, spec);
        }
        Ok(completion.expect("the record has been made"))
    }

    /// Has a map that is still without items go on where another pool left these: with the attempt of this number, and the seed of
    /// its submission there.
    #[cfg(feature = "remote")]
    pub(crate) fn resume(&mut self, job: JobId, items: Range<u64>, attempt: u32, seed: Option<u64>) {
        if let Some(record) = self.scheduler.record_mut(job) {
            record.seed = seed;
        }
        self.scheduler.resume(job, items, attempt);
    }

    /// Takes a call for each worker of this moment. Returns how many these are.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn broadcast(
        &mut self,
        owner: &Arc<impl Owner>,
        mut spec: JobSpec,
        call: Call,
    ) -> Result<(CompletionRef, u32), Error> {
        let Call { entry, args, args_size, .. } = call;
        // Before the workers are counted: some may have ended, or be about to leave.
        self.route();
        self.check_open().map_err(|error| error.of_task(entry.path()))?;
        self.note_submission(&mut spec);
        let (mut args, attachments) = Content::of_args(args);
        let (mut made, is_logged) = (None, self.is_logged());
        let job = self.scheduler.broadcast(spec, |job, items| {
            let completion = CompletionRef::new(&Batch::of_map(owner, job, None), 0);
            let mut record = Job::of_map(entry, &spec, completion.clone(), None);
            for item in 0..items.into() {
                // One block each, since each item travels alone; the bytes are there once.
                let mut block = Block::new(item, 1, args_size, args.again());
                block.attach(attachments.as_deref().map_or(&[], Vec::as_slice));
                record.blocks.push(block, &mut Vec::new());
            }
            made = Some((completion, items));
            record
        });
        if is_logged {
            self.log_submitted(job, None, spec);
        }
        Ok(made.expect("the record has been made"))
    }

    /// Counts a submission. Its seed follows from that of its task or pool, and from its number. So calls with a seed never
    /// are items of one job.
    #[inline]
    pub(super) fn note_submission(&mut self, spec: &mut JobSpec) {
        // The count under the lock, so that submissions of one thread are numbered in its order.
        let number = self.accounts.counts.submitted() - 1;
        if let Some(seed) = &mut spec.seed {
            *seed = derive(*seed, number);
        }
    }

    /// Gives a map a block of arguments, and the scheduler as many of the `waiting` items as there is room for. Memory
    /// for further blocks goes to `spare`. False if the map has ended.
    ///
    /// If others stand in line for room, only a granted `ticket` lets an item go ahead.
    pub(crate) fn feed(
        &mut self,
        job: JobId,
        block: Option<Block>,
        waiting: &mut VecDeque<(u64, u32)>,
        ticket: &mut Option<Ticket>,
        spare: &mut Vec<Vec<u8>>,
    ) -> bool {
        let mut has_turn = ticket.take_if(|ticket| self.room.redeem(*ticket)).is_some();
        let Some(record) = self.scheduler.record_mut(job) else { return false };
        // The block goes in whole even if its items must wait: they are encoded, and only numbers wait for room.
        if let Some(block) = block {
            record.blocks.push(block, spare);
        }
        let mut accepted = true;
        while let Some((first, items)) = waiting.front_mut().filter(|_| accepted) {
            let some = self.admit(job, *first, *items, std::mem::take(&mut has_turn));
            // No room: the rest stays in `waiting`, and the caller stands in line for it.
            if some == 0 {
                break;
            }
            accepted = self.scheduler.add_items(job, *first, some);
            (*first, *items) = (*first + u64::from(some), *items - some);
            if *items == 0 {
                waiting.pop_front();
            }
        }
        // A thread that feeds a long map takes in replies as it goes, so that workers find room in their rings.
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

    /// Cancels all items that no worker has begun, and lets lazy maps get no more. Returns the number of cancelled
    /// items.
    pub(crate) fn cancel_pending(&mut self) -> u64 {
        // Replies that are there settle items, which are not counted then.
        self.route();
        // Recalls are carried out between the halves, so that their items are in the queue when it is emptied.
        self.scheduler.begin_cancel_pending();
        self.act();
        let mut change = 0;
        let cancelled = self.scheduler.end_cancel_pending(|record, first, items| {
            record.blocks.settled(first, items);
            change += record.blocks.take_change();
        });
        self.note_bytes(change);
        self.act();
        cancelled
    }

    /// Drops all items of a map that no worker has begun, and the outcomes of the others.
    pub(crate) fn discard(&mut self, job: JobId) {
        self.scheduler.cancel(job, false);
    }

    /// Has the host woken by each chunk of the map that is sent from now on, for a future that awaits it.
    #[cfg(feature = "stream")]
    pub(crate) fn announce(&mut self, job: JobId) {
        self.scheduler.announce(job);
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
        self.accounts.deferred.notices.progress = true;
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
    /// The reason why the pool takes no jobs any more.
    pub(crate) fn resize(&mut self, workers: usize) -> Result<(), Error> {
        self.check_open()?;
        self.scheduler.resize(workers);
        Ok(())
    }

    /// Takes the work that is to be done when the lock is free.
    #[inline]
    pub(crate) fn take_deferred(&mut self) -> (Notices, Option<Deferred>) {
        let mut notices = std::mem::take(&mut self.accounts.deferred.notices);
        // Once for all records since the reader fell asleep.
        notices.logged = self.observer.logs.take_wake();
        (notices, self.accounts.deferred.take())
    }

    /// Items run on other machines.
    pub(crate) fn is_remote(&self) -> bool {
        self.scheduler.is_remote()
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

    /// The time at which the clock is to be looked at, for the scheduler or for results that are held back.
    #[inline]
    pub(crate) fn wake_at(&self) -> Option<Nanos> {
        match (self.scheduler.wake_at(), self.looks.next()) {
            (Some(tick), Some(look)) => Some(tick.min(look)),
            (tick, look) => tick.or(look),
        }
    }

    /// The number of workers as it should be.
    pub(crate) fn workers(&self) -> usize {
        self.scheduler.workers()
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
