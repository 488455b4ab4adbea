//! Jobs as callers see them: opened, fed, sealed, cancelled; and the pool: closed, terminated, resized, asked.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use super::accounts::{Deferred, Outcome};
use super::room::{Amount, Ticket};
use crate::codec::number_buffer::ResultBuffer;
use crate::error::Error;
use crate::job::Job;
use crate::job::batch::{Batch, CompletionRef};
use crate::job::block::Block;
use crate::job::blocks::Call;
use crate::job::owner::Owner;
use crate::job::waiters::Waiter;
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
        if let Some(block) = block {
            record.blocks.push(block, spare);
        }
        let mut accepted = true;
        while let Some((first, items)) = waiting.front_mut().filter(|_| accepted) {
            let some = self.admit(job, *first, *items, std::mem::take(&mut has_turn));
            if some == 0 {
                break;
            }
            accepted = self.scheduler.add_items(job, *first, some);
            (*first, *items) = (*first + u64::from(some), *items - some);
            if *items == 0 {
                waiting.pop_front();
            }
        }
        self.route();
        accepted
    }

    /// How many of these items of a map, which are of one block, may be pending from now on.
    #[inline]
    fn admit(&mut self, job: JobId, first: u64, items: u32, has_turn: bool) -> u32 {
        if self.room.is_unlimited() {
            return items;
        }
        let pending = self.pending();
        let Some(record) = self.scheduler.record_mut(job) else { return items };
        let room = self.room.items_to_feed(pending, record.blocks.item_bytes(first), has_turn);
        let admitted = u32::try_from(room).unwrap_or(u32::MAX).min(items);
        record.blocks.count(first, admitted);
        let change = record.blocks.take_change();
        self.note_bytes(change);
        admitted
    }

    /// Items that a map may pull now. A granted ticket is given back for that, and stands for one item in any case: pulling
    /// runs the user's code, which may itself wait for room.
    pub(crate) fn items_to_pull(&mut self, ticket: &mut Option<Ticket>) -> u64 {
        let has_turn = ticket.take_if(|ticket| self.room.redeem(*ticket)).is_some();
        self.room.items_to_pull(self.pending()).max(u64::from(has_turn))
    }

    /// Submits a call, if its `ticket` is granted, or if it has none and there is room; else nothing happens.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn call_if_room(
        &mut self,
        owner: &Arc<impl Owner>,
        spec: JobSpec,
        call: &mut Option<Call>,
        ticket: &mut Option<Ticket>,
    ) -> Option<Result<CompletionRef, Error>> {
        let wanted = wanted(call.as_ref()?);
        let may_go = match ticket {
            Some(granted) => self.room.redeem(*granted),
            None => self.room.is_open(self.pending(), wanted),
        };
        if may_go {
            *ticket = None;
        }
        let call = call.take_if(|_| may_go || self.state() != State::Open)?;
        Some(self.call(owner, spec, call))
    }

    /// Stands in line for a call.
    pub(crate) fn draw_ticket(&mut self, call: &Call) -> Ticket {
        self.room.draw(wanted(call))
    }

    /// Stands in line for one item of a map: the one that was pulled and waits, or one that is still to be pulled.
    pub(crate) fn draw_item_ticket(&mut self, job: JobId, waiting: Option<u64>) -> Ticket {
        let item_bytes = |item| Some(self.scheduler.record_mut(job)?.blocks.item_bytes(item));
        let bytes = waiting.and_then(item_bytes).unwrap_or(1);
        self.room.draw(Amount { items: 1, bytes })
    }

    /// Has the waiter woken when the ticket is granted, and when the pool is closed or ends; `Err` if the ticket is granted.
    /// Returns the waiter that it replaces.
    pub(crate) fn set_room_waiter(&mut self, ticket: Ticket, waiter: Waiter) -> Result<Option<Waiter>, Waiter> {
        if self.is_turn(ticket) { Err(waiter) } else { Ok(self.room.set_waiter(ticket, waiter)) }
    }

    /// Whether the ticket is granted.
    pub(crate) fn is_turn(&self, ticket: Ticket) -> bool {
        self.room.is_granted(ticket)
    }

    /// Leaves the line. Returns the waiter, whose destructor may be the user's code.
    pub(crate) fn leave_line(&mut self, ticket: Ticket) -> Option<Waiter> {
        self.room.leave(ticket)
    }

    /// An item of a map has failed before it was fed.
    pub(crate) fn settle_unsent(&mut self) {
        self.accounts.settle(1, Outcome::Failure);
    }

    /// No more items of the map will come.
    pub(crate) fn seal(&mut self, job: JobId) {
        self.scheduler.seal(job);
    }

    /// Drops all items of a map that no worker has begun; nobody looks at the outcome of the others.
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
        self.accounts.deferred.progress = true;
    }

    /// Ends all jobs now.
    pub(crate) fn terminate(&mut self) {
        self.scheduler.terminate();
    }

    /// Seals the maps whose input is pulled as results are taken.
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

/// The room that a call needs.
fn wanted(call: &Call) -> Amount {
    Amount { items: 1, bytes: call.args.len() as u64 }
}

#[cfg(any(test, fuzzing))]
impl Engine {
    /// For a host that lies to its engine.
    pub(crate) fn scheduler(&mut self) -> &mut crate::scheduler::Scheduler<Box<Job>> {
        &mut self.scheduler
    }
}
