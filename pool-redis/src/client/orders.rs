//! Orders on their way to the server, all that waited in one go, and what comes of them.

use std::time::Duration;

use redis::{Cmd, Value};

use super::jobs::End;
use super::outbox::Order;
use super::shared::Shared;
use crate::commands;
use crate::connection::{Backoff, Trouble};
use crate::protocol::Submitted;

/// Orders sent in one go.
const ORDERS_MAX: usize = 64;
/// The time before a full queue is tried again.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// Orders that have left the outbox, each with its command.
#[derive(Debug)]
pub(super) struct Orders {
    orders: Vec<Order>,
    commands: Vec<Cmd>,
}

impl Orders {
    /// Those that wait, but for submissions of jobs that are over.
    pub(super) fn take(shared: &Shared) -> Orders {
        let (mut orders, mut commands) = (Vec::new(), Vec::new());
        for order in shared.outbox.take(ORDERS_MAX) {
            if let Some(command) = command(shared, &order) {
                orders.push(order);
                commands.push(command);
            }
        }
        Orders { orders, commands }
    }

    pub(super) fn none() -> Orders {
        Orders { orders: Vec::new(), commands: Vec::new() }
    }

    pub(super) fn commands(&self) -> &[Cmd] {
        &self.commands
    }

    /// Takes the answers to all of them. Those that the server cannot take now go back into the outbox, and are to be sent again
    /// after the time that is returned.
    pub(super) fn settle(
        self,
        shared: &Shared,
        backoff: &mut Backoff,
        mut answer: impl FnMut() -> Result<Value, Trouble>,
    ) -> Option<Duration> {
        // One that is refused must not hold up the others.
        let (mut again, mut rest, mut is_troubled) = (Vec::new(), None, false);
        for order in self.orders {
            let answer = answer().and_then(|value| match order {
                Order::Submit(_) => commands::submitted(value),
                Order::Cancel(..) => Ok(Submitted::Known),
            });
            match answer {
                Ok(Submitted::Full) => {
                    shared.outbox.forget_refusal();
                    rest = rest.or(Some(FULL_WAIT));
                    again.push(order);
                }
                Err(trouble) if !trouble.is_permanent => {
                    shared.outbox.note_refusal(&trouble);
                    shared.jobs.note_trouble(trouble);
                    (rest, is_troubled) = (Some(backoff.wait()), true);
                    again.push(order);
                }
                answer => {
                    backoff.reset();
                    settle(shared, &order, answer.err());
                }
            }
        }
        // A full queue is no trouble: it is looked at again at the same pace.
        if is_troubled {
            backoff.grow();
        }
        // In front, so that they keep their order.
        shared.outbox.put_back(again);
        rest
    }
}

fn command(shared: &Shared, order: &Order) -> Option<Cmd> {
    let Shared { keys, session, lease, queue_max, jobs, outbox, .. } = shared;
    match order {
        Order::Cancel(number, queue) => Some(commands::cancel(keys, (*session, *number), queue)),
        Order::Submit(number) => {
            let job = jobs.get(*number);
            if job.is_none() {
                outbox.submitted(*number);
            }
            job.map(|job| commands::submit(keys, (*session, *number), &job.queue, &job.body, *lease, *queue_max))
        }
    }
}

/// The server has answered.
fn settle(shared: &Shared, order: &Order, trouble: Option<Trouble>) {
    let Order::Submit(number) = order else {
        return;
    };
    shared.outbox.submitted(*number);
    if let Some(trouble) = trouble
        && let Some(job) = shared.jobs.remove(*number)
    {
        job.end(End::Failed(trouble.error("submitting the items")));
    }
}
