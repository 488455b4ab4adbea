//! Back-pressure: submissions that wait for room, and the moment at which they get it.

use std::sync::Arc;

use super::Engine;
use super::room::{Amount, Ticket};
use crate::error::Error;
use crate::job::batch::CompletionRef;
use crate::job::blocks::Call;
use crate::job::owner::Owner;
use crate::job::waiters::Waiter;
use crate::scheduler::{JobId, JobSpec, State};

impl Engine {
    /// The bytes of a job's pending arguments have changed by so much.
    #[inline]
    pub(super) fn note_bytes(&mut self, change: i64) {
        self.argument_bytes = self.argument_bytes.wrapping_add_signed(change);
    }

    /// The items that are pending, and the bytes of their arguments.
    #[inline]
    pub(super) fn pending(&self) -> Amount {
        Amount { items: self.scheduler.unsettled(), bytes: self.argument_bytes }
    }

    /// Before the lock is released: gives room to submissions that wait, and finds threads that wait for a state that
    /// has come.
    #[inline]
    pub(crate) fn settle_waits(&mut self) {
        if self.room.has_line() {
            self.grant_room();
        }
        if !self.watchers.is_empty() {
            self.notify_watchers();
        }
    }

    #[cold]
    fn grant_room(&mut self) {
        // Once is enough: calls that find the pool closed do not come back into line.
        if self.state() != State::Open && !std::mem::replace(&mut self.line_knows_end, true) {
            // Calls will get no room. Maps that are open do, until all of their items have ended.
            self.accounts.deferred.woken.extend(self.room.wake_all());
            self.accounts.deferred.notices.progress = true;
        }
        let (granted, woken) = self.room.grant(self.pending());
        self.accounts.deferred.woken.extend(woken);
        // The leader has no waiter in line: it looks again when it is notified.
        self.accounts.deferred.notices.progress |= granted;
    }

    /// How many of these items of a map, which are of one block, may be pending from now on.
    #[inline]
    pub(super) fn admit(&mut self, job: JobId, first: u64, items: u32, has_turn: bool) -> u32 {
        // Without a bound bytes need not be counted, which takes a search for the block.
        if self.room.is_unlimited() {
            return items;
        }
        let pending = self.pending();
        // The map has ended; the scheduler refuses the items right after this.
        let Some(record) = self.scheduler.record_mut(job) else { return items };
        let room = self.room.items_to_feed(pending, record.blocks.item_bytes(first), has_turn);
        let admitted = u32::try_from(room).unwrap_or(u32::MAX).min(items);
        // Items that wait for room count only when they get it: else they would take the room that they wait for.
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
        // A pool that is not open takes the call in order to refuse it, so that the caller hears why.
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
        // An item that is still to be pulled has no known size; its real size counts when it is fed.
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

    /// Leaves the line. Returns the waiter: its destructor may be the user's code.
    pub(crate) fn leave_line(&mut self, ticket: Ticket) -> Option<Waiter> {
        self.room.leave(ticket)
    }
}

/// The room that a call needs.
fn wanted(call: &Call) -> Amount {
    Amount { items: 1, bytes: call.args.len() as u64 }
}
