//! The thread that submits and cancels jobs. It sends all that waits in one go, so that many threads share the round trips.

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, Cmd};

use super::jobs::End;
use super::outbox::Order;
use super::shared::Shared;
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::Submitted;

/// Commands sent in one go.
const BATCH_MAX: usize = 64;
/// The time before a full queue is tried again.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// The thread.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    line: Line,
    backoff: Backoff,
}

impl Writer {
    pub(super) fn new(client: &Client, shared: &Arc<Shared>) -> Writer {
        let line = Line::new(client, commands::WRITER_SCRIPTS, Duration::ZERO);
        Writer { shared: Arc::clone(shared), line, backoff: Backoff::new() }
    }

    pub(super) fn run(mut self) {
        loop {
            let orders = self.shared.outbox.take(BATCH_MAX);
            // A pool that ends does not wait for a server that is away.
            let is_stuck = self.line.is_lost() && self.shared.outbox.is_closed();
            if orders.is_empty() || is_stuck {
                break;
            }
            self.send(orders);
        }
        // Without an answer the session expires.
        let _ = self.line.ask_all(&commands::close(&self.shared.keys, self.shared.session));
    }

    /// Sends the orders. Those that the server cannot take now come back, and their jobs may meanwhile be given up.
    fn send(&mut self, orders: Vec<Order>) {
        let shared = Arc::clone(&self.shared);
        let (mut sent, mut commands) = (Vec::new(), Vec::new());
        for order in orders {
            if let Some(command) = self.command(&order) {
                sent.push(order);
                commands.push(command);
            }
        }
        let answers = match self.line.ask_all(&commands) {
            Ok(answers) => answers,
            Err(trouble) => sent.iter().map(|_| Err(trouble.clone())).collect(),
        };
        let (mut again, mut rest) = (Vec::new(), None);
        for (order, answer) in sent.into_iter().zip(answers) {
            let answer = answer.and_then(|value| match order {
                Order::Submit(_) => commands::submitted(value),
                Order::Cancel(..) => Ok(Submitted::Known),
            });
            match answer {
                Ok(Submitted::Full) => {
                    rest = rest.or(Some(FULL_WAIT));
                    again.push(order);
                }
                Err(trouble) if !trouble.is_permanent => {
                    shared.jobs.note_trouble(trouble);
                    rest = Some(self.backoff.wait());
                    again.push(order);
                }
                answer => {
                    self.backoff.reset();
                    self.settle(&order, answer.err());
                }
            }
        }
        if let Some(rest) = rest {
            self.backoff.grow();
            shared.outbox.put_back(again);
            shared.outbox.pause(rest);
        }
    }

    fn command(&self, order: &Order) -> Option<Cmd> {
        let Shared { keys, session, lease, queue_max, jobs, outbox, .. } = &*self.shared;
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
    fn settle(&self, order: &Order, trouble: Option<Trouble>) {
        let Order::Submit(number) = order else {
            return;
        };
        self.shared.outbox.submitted(*number);
        if let Some(trouble) = trouble
            && let Some(job) = self.shared.jobs.remove(*number)
        {
            job.end(End::Failed(trouble.error("submitting the items")));
        }
    }
}
