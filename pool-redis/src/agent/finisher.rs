//! Hands in outcomes. All that wait are sent in one go: by the runner that has the last of them if nobody else sends, and otherwise by
//! a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Client;

use super::work::{Done, Work};
use crate::commands;
use crate::connection::{Backoff, Line};

/// Outcomes sent in one go.
const BATCH_MAX: usize = 64;

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
            finisher.send(work.take_outcomes(BATCH_MAX));
        }
        // For those that have come meanwhile, or come back.
        work.notify_finisher();
    }

    /// The thread.
    pub(super) fn run(finisher: &Mutex<Finisher>, work: &Work) {
        while work.wait_for_outcomes() {
            let mut finisher = finisher.lock().unwrap_or_else(PoisonError::into_inner);
            let outcomes = work.take_outcomes(BATCH_MAX);
            let rest = finisher.send(outcomes);
            drop(finisher);
            if let Some(rest) = rest {
                work.pause(rest);
            }
        }
    }

    /// Hands in the outcomes. Those that the server cannot take now are put back, for another attempt after the time that is
    /// returned.
    fn send(&mut self, outcomes: Vec<Done>) -> Option<Duration> {
        if outcomes.is_empty() {
            return None;
        }
        let work = &self.work;
        let finish = |(delivery, outcome): &Done| commands::finish(&work.keys, work.agent, *delivery, outcome);
        let commands: Vec<_> = outcomes.iter().map(finish).collect();
        let answers = self.line.ask_all(&commands);
        let answers = answers.unwrap_or_else(|trouble| outcomes.iter().map(|_| Err(trouble.clone())).collect());
        let mut again = Vec::new();
        for (outcome, answer) in outcomes.into_iter().zip(answers) {
            match answer.and_then(commands::finished) {
                // Taken, or the job is another agent's, or nobody's: this agent is through with it.
                Ok(_) => work.finished(outcome.0),
                Err(trouble) if trouble.is_permanent => work.fail(trouble.error("handing in results")),
                Err(_) => again.push(outcome),
            }
        }
        if again.is_empty() {
            self.backoff.reset();
            return None;
        }
        work.put_back(again);
        let rest = self.backoff.wait();
        self.backoff.grow();
        Some(rest)
    }
}
