//! Hands in the outcomes that no taker carries. All that wait are sent in one go: by the runner that has the last of them if nobody else
//! sends, and otherwise by a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Client;

use super::outcomes::Outcomes;
use super::work::Work;
use crate::commands;
use crate::connection::{Backoff, Line};

/// The connection by which outcomes are handed in.
#[derive(Debug)]
pub(super) struct Finisher {
    work: Arc<Work>,
    line: Line,
    backoff: Backoff,
}

impl Finisher {
    pub(super) fn new(client: &Client, work: &Arc<Work>) -> Finisher {
        let line = Line::new(client, commands::FINISHER_SCRIPTS, Duration::ZERO);
        Finisher { work: Arc::clone(work), line, backoff: Backoff::new() }
    }

    /// Sends the waiting outcomes in this thread, if the connection is free.
    pub(super) fn send_here(finisher: &Mutex<Finisher>, work: &Work) {
        if let Ok(mut finisher) = finisher.try_lock()
            && !finisher.line.is_lost()
        {
            finisher.send(Outcomes::take(work));
        }
        // For those that have come meanwhile, or come back.
        work.notify_finisher();
    }

    /// The thread.
    pub(super) fn run(finisher: &Mutex<Finisher>, work: &Work) {
        while work.wait_for_outcomes() {
            let mut finisher = finisher.lock().unwrap_or_else(PoisonError::into_inner);
            let outcomes = Outcomes::take(work);
            let rest = finisher.send(outcomes);
            drop(finisher);
            if let Some(rest) = rest {
                work.pause(rest);
            }
        }
    }

    /// Hands in the outcomes. Those that the server cannot take now are put back, for another attempt after the time that is
    /// returned.
    fn send(&mut self, outcomes: Outcomes) -> Option<Duration> {
        if outcomes.commands().is_empty() {
            return None;
        }
        let sent = self.line.send(outcomes.commands(), None);
        let Finisher { work, line, backoff } = self;
        if outcomes.settle(work, || sent.clone().and_then(|()| line.receive()?)) {
            backoff.reset();
            return None;
        }
        let rest = backoff.wait();
        backoff.grow();
        Some(rest)
    }
}
