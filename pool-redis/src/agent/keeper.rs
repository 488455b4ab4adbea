//! The thread that keeps the leases, and hears of jobs that were cancelled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_core::Result;
use redis::Client;

use super::work::Work;
use crate::advertisement::Advertisement;
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};

/// How often it looks whether the agent is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The order that an agent has from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    /// It takes no more, and finishes its jobs.
    Drain,
    /// It gives its jobs back.
    Stop,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Keeper {
    work: Arc<Work>,
    line: Line,
    backoff: Backoff,
    advertisement: Vec<u8>,
    engine_timeout: Duration,
    renew_at: Instant,
    heard_at: Instant,
}

impl Keeper {
    pub(super) fn new(
        client: &Client,
        work: &Arc<Work>,
        advertisement: &Advertisement,
        engine_timeout: Duration,
    ) -> Keeper {
        Keeper {
            work: Arc::clone(work),
            line: Line::new(client, commands::KEEPER_SCRIPTS, LOOK_EVERY),
            backoff: Backoff::new(),
            advertisement: advertisement.encode(),
            engine_timeout,
            renew_at: Instant::now(),
            heard_at: Instant::now(),
        }
    }

    /// Runs until the agent has ended.
    ///
    /// # Errors
    ///
    /// The failure that ended it.
    pub(super) fn run(&mut self, wish: impl Fn() -> Wish, has_taken_all: impl Fn() -> bool) -> Result<()> {
        while !self.work.is_over() {
            match wish() {
                Wish::GoOn => {}
                // First in any case, also at the second signal: no more is to come.
                _ if !self.work.is_draining() => self.drain(),
                Wish::Drain => {}
                // Without the server nothing can be given back: the leases end.
                Wish::Stop if self.line.is_lost() => self.work.end(),
                Wish::Stop => self.work.stop_all(),
            }
            if self.work.is_draining() && has_taken_all() && self.work.is_empty() {
                break;
            }
            match self.go_on() {
                Ok(()) => {
                    self.heard_at = Instant::now();
                    self.backoff.reset();
                }
                Err(trouble) => self.rest(&trouble),
            }
        }
        let leave = commands::leave(&self.work.keys, self.work.agent);
        if !self.line.is_lost() {
            // Without an answer its keys expire.
            let _ = self.line.ask_all(&leave);
        }
        self.work.take_failure().map_or(Ok(()), Err)
    }

    fn drain(&mut self) {
        self.work.drain();
        // Clients are to count on it no longer, from the next renewal on.
        self.advertisement.clear();
        let leave = commands::leave(&self.work.keys, self.work.agent);
        let _ = self.line.ask_all(&leave[..1]);
    }

    fn go_on(&mut self) -> std::result::Result<(), Trouble> {
        let work = &self.work;
        if work.take_unclaimed() || Instant::now() >= self.renew_at {
            // Four times in a lease, so that a few may be late.
            let next = Instant::now() + work.lease / 4;
            let deliveries = work.deliveries();
            let status = work.status();
            let renew =
                commands::renew(&work.keys, work.agent, work.lease, (&self.advertisement, &status), &deliveries);
            let held = commands::renewed(self.line.ask(&renew)?, deliveries.len())?;
            for (&delivery, is_held) in deliveries.iter().zip(&held) {
                if !is_held {
                    work.lose(delivery);
                }
            }
            self.renew_at = next;
        }
        let blocks = self.renew_at.saturating_duration_since(Instant::now());
        // Redis takes 0 for a wait without end.
        let blocks = blocks.clamp(Duration::from_millis(1), LOOK_EVERY);
        let orders = self.line.ask(&commands::take_orders(&work.keys, work.agent, blocks))?;
        commands::deliveries(orders)?.into_iter().for_each(|delivery| work.lose(delivery));
        Ok(())
    }

    fn rest(&mut self, trouble: &Trouble) {
        // The server may be another now, which does not know the agent.
        self.renew_at = Instant::now();
        if trouble.is_permanent {
            self.work.fail(trouble.error("keeping the leases"));
        } else if self.heard_at.elapsed() > self.engine_timeout {
            self.work.fail(trouble.error(&format!("the server was not reached for {:?}", self.engine_timeout)));
        }
        self.work.pause(self.backoff.wait());
        self.backoff.grow();
    }
}
