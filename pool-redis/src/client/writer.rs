//! Submits and cancels jobs. All that waits is sent in one go, so that many threads share the round trips: by the thread that waits for
//! the job if nobody else sends, and otherwise by a thread of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Client, Cmd};

use super::jobs::{End, lock};
use super::outbox::{Order, Outbox};
use super::shared::Shared;
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::Submitted;

/// Commands sent in one go.
const BATCH_MAX: usize = 64;
/// The time before a full queue is tried again.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// The time for which a thread of the pool waits for an answer: it has to see that its items are cancelled.
const HERE_WAIT: Duration = Duration::from_millis(500);

/// The connection for submissions and cancellations.
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

    /// Sends the waiting orders in this thread, if the connection is free: that saves the way to the writer's thread and back.
    pub(super) fn send_here(writer: &Mutex<Writer>, outbox: &Outbox) {
        if let Ok(mut writer) = writer.try_lock()
            && !writer.line.is_lost()
        {
            writer.send(outbox.take(BATCH_MAX), Some(HERE_WAIT));
        }
        // Those that have come meanwhile, or come back.
        outbox.notify();
    }

    /// The writer's thread.
    pub(super) fn run(writer: &Mutex<Writer>, shared: &Shared) {
        loop {
            shared.outbox.wait();
            let mut writer = lock(writer);
            let orders = shared.outbox.take(BATCH_MAX);
            // A pool that ends does not wait for a server that is away.
            if shared.outbox.is_closed() && (orders.is_empty() || writer.line.is_lost()) {
                // Without an answer the session expires.
                let _ = writer.line.ask_all(&commands::close(&shared.keys, shared.session));
                return;
            }
            let rest = writer.send(orders, None);
            drop(writer);
            if let Some(rest) = rest {
                shared.outbox.pause(rest);
            }
        }
    }

    /// Sends the orders. Those that the server cannot take now come back, and are to be sent again after the time that is returned.
    fn send(&mut self, orders: Vec<Order>, most: Option<Duration>) -> Option<Duration> {
        let (mut sent, mut commands) = (Vec::new(), Vec::new());
        for order in orders {
            if let Some(command) = self.command(&order) {
                sent.push(order);
                commands.push(command);
            }
        }
        if sent.is_empty() {
            return None;
        }
        let answers = match most {
            Some(most) => self.line.ask_all_within(&commands, most),
            None => self.line.ask_all(&commands),
        };
        let answers = answers.unwrap_or_else(|trouble| sent.iter().map(|_| Err(trouble.clone())).collect());
        let (mut again, mut rest) = (Vec::new(), None);
        for (order, answer) in sent.into_iter().zip(answers) {
            let answer = answer.and_then(|value| match order {
                Order::Submit(_) => commands::submitted(value),
                Order::Cancel(..) => Ok(Submitted::Known),
            });
            match answer {
                Ok(Submitted::Full) => {
                    self.shared.outbox.forget_refusal();
                    rest = rest.or(Some(FULL_WAIT));
                    again.push(order);
                }
                Err(trouble) if !trouble.is_permanent => {
                    self.shared.outbox.note_refusal(&trouble);
                    self.shared.jobs.note_trouble(trouble);
                    rest = Some(self.backoff.wait());
                    again.push(order);
                }
                answer => {
                    self.backoff.reset();
                    self.settle(&order, answer.err());
                }
            }
        }
        if rest.is_some() {
            self.backoff.grow();
            self.shared.outbox.put_back(again);
        }
        rest
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
