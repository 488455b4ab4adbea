//! A place in the line of submissions that wait for room; see [`room`](crate::engine::room).

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread::Thread;
use std::time::Instant;

use super::Host;
use crate::engine::room::Ticket;
use crate::error::Result;
use crate::job::batch::CompletionRef;
use crate::job::blocks::Call;
use crate::job::waiters::Waiter;
use crate::scheduler::{JobId, JobSpec, State};

/// A place in the line, left when it is dropped: a future that is given up, or a thread that unwinds, makes room for the
/// next.
#[derive(Debug)]
pub(crate) struct Turn {
    host: Arc<Host>,
    ticket: Option<Ticket>,
}

impl Turn {
    /// Makes a turn that does not stand in line yet.
    pub(crate) fn new(host: &Arc<Host>) -> Self {
        Turn { host: Arc::clone(host), ticket: None }
    }

    /// # Errors
    ///
    /// `Unsupported` in a copy of the host.
    pub(crate) fn check_owner(&self) -> Result<()> {
        self.host.check_owner()
    }

    pub(crate) fn ticket(&mut self) -> &mut Option<Ticket> {
        &mut self.ticket
    }

    /// Stands in line for an item of a map: `waiting`, or one that is still to be pulled.
    pub(crate) fn draw_for_item(&mut self, job: JobId, waiting: Option<u64>) {
        // A map that is asked again keeps its place in the line.
        if self.ticket.is_none() {
            self.ticket = Some(self.host.with(|engine| engine.draw_item_ticket(job, waiting)));
        }
    }

    /// Waits until the ticket is granted or it `is_vain` to wait; false if the deadline comes first. `register` has the
    /// thread unparked when it should look whether it is in vain.
    pub(crate) fn wait(
        &self,
        deadline: Option<Instant>,
        mut is_vain: impl FnMut() -> bool,
        mut register: impl FnMut(Thread),
    ) -> bool {
        let Some(ticket) = self.ticket else { return true };
        let ready = || {
            // The lock is free again before the second look, which may take it.
            let is_turn = self.host.engine().is_turn(ticket);
            is_turn || is_vain()
        };
        self.host.wait(deadline, ready, |thread| {
            // A waiter that comes too late is found out by the look that follows.
            drop(self.host.with(|engine| engine.set_room_waiter(ticket, Waiter::Thread(thread.clone()))));
            register(thread);
        })
    }

    /// Whether the ticket is granted; if not, the waker is woken when it is.
    #[cfg(feature = "stream")]
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let Some(ticket) = self.ticket else { return true };
        let waiter = Waiter::Task(waker.clone());
        // Either waiter is dropped outside of the lock.
        let outcome = self.host.with(|engine| engine.set_room_waiter(ticket, waiter));
        outcome.is_err()
    }

    /// Submits the call if it is its turn. If not it stands in line, and the waker is woken when it is.
    pub(crate) fn poll_call(
        &mut self,
        spec: JobSpec,
        call: &mut Option<Call>,
        waker: &Waker,
    ) -> Poll<Result<CompletionRef>> {
        let Turn { host, ticket } = self;
        // Clones and drops of a waker are the user's code, so they happen outside of the lock.
        let waiter = Waiter::Task(waker.clone());
        let mut unused = None;
        // Without room it is no submission, and is in no span.
        let outcome = host.in_span(spec, |spec| {
            let (outcome, left) = host.with(|engine| {
                if let Some(outcome) = engine.call_if_room(host, spec, call, ticket) {
                    return (Some(outcome), Some(waiter));
                }
                // The waker is set under the lock under which no room was found: room that comes later finds it.
                let call = call.as_ref().expect("it has not been submitted");
                let ticket = *ticket.get_or_insert_with(|| engine.draw_ticket(call));
                match engine.set_room_waiter(ticket, waiter) {
                    Ok(replaced) => (None, replaced),
                    Err(waiter) => (None, Some(waiter)),
                }
            });
            unused = left;
            outcome.ok_or(None)?.map_err(Some)
        });
        drop(unused);
        let outcome = match outcome {
            Ok(completion) => Ok(completion),
            Err(Some(error)) => Err(error),
            Err(None) => return Poll::Pending,
        };
        // Behind the lock: the count is a hint for the router, and orders nothing.
        host.note_submissions(1);
        // A refused call still has its place, and its future may be kept for long: the room is for others.
        self.leave();
        Poll::Ready(outcome)
    }

    /// Submits the call when it is its turn.
    pub(crate) fn call(&mut self, spec: JobSpec, call: Call) -> Result<CompletionRef> {
        let mut call = Some(call);
        loop {
            self.host.note_submissions(1);
            let Turn { host, ticket } = &mut *self;
            let outcome = host.with(|engine| {
                let outcome = engine.call_if_room(host, spec, &mut call, ticket);
                // Drawn under the lock under which no room was found, or a later submission could come first.
                if let Some(call) = &call {
                    ticket.get_or_insert_with(|| engine.draw_ticket(call));
                }
                outcome
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
            self.host.check_owner()?;
            // A closed pool gives no room to calls, so its end is waited for as well.
            self.wait(None, || self.host.engine().state() != State::Open, drop);
        }
    }

    /// Leaves the line.
    pub(crate) fn leave(&mut self) {
        // In a copy of the host the lock may be held for ever.
        if let Some(ticket) = self.ticket.take().filter(|_| self.host.owner.is_here()) {
            drop(self.host.with(|engine| engine.leave_line(ticket)));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
    }
}
