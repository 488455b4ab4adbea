//! Submits and cancels jobs. All that waits is sent in one go, so that many threads share the round trips: by the thread that waits for
//! the job if nobody else sends, and otherwise by a thread of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Client;

use super::jobs::lock;
use super::orders::Orders;
use super::outbox::Outbox;
use super::shared::Shared;
use crate::commands;
use crate::connection::{Backoff, Line};

/// The time for which a thread of the pool waits for an answer: it has to see that its items are cancelled.
pub(super) const HERE_WAIT: Duration = Duration::from_millis(500);

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
            let orders = Orders::take(&writer.shared);
            writer.send(orders, Some(HERE_WAIT));
        }
        // Those that have come meanwhile, or come back.
        outbox.notify();
    }

    /// The writer's thread.
    pub(super) fn run(writer: &Mutex<Writer>, shared: &Shared) {
        loop {
            shared.outbox.wait();
            let mut writer = lock(writer);
            let orders = Orders::take(shared);
            // A pool that ends does not wait for a server that is away.
            if shared.outbox.is_closed() && (orders.commands().is_empty() || writer.line.is_lost()) {
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
    fn send(&mut self, orders: Orders, most: Option<Duration>) -> Option<Duration> {
        if orders.commands().is_empty() {
            return None;
        }
        let sent = self.line.send(orders.commands(), most);
        let Writer { shared, line, backoff } = self;
        orders.settle(shared, backoff, || sent.clone().and_then(|()| line.receive()?))
    }
}
