//! The thread that hands in outcomes. It sends all that wait in one go.

use std::sync::Arc;
use std::time::Duration;

use redis::Client;

use super::work::Work;
use crate::commands;
use crate::connection::{Backoff, Line};

/// Outcomes sent in one go.
const BATCH_MAX: usize = 64;

/// The thread.
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

    pub(super) fn run(mut self) {
        let work = Arc::clone(&self.work);
        while let Some(outcomes) = work.take_outcomes(BATCH_MAX) {
            let finish =
                |(delivery, outcome): &(_, Vec<u8>)| commands::finish(&work.keys, work.agent, *delivery, outcome);
            let commands: Vec<_> = outcomes.iter().map(finish).collect();
            let answers = match self.line.ask_all(&commands) {
                Ok(answers) => answers,
                Err(trouble) => outcomes.iter().map(|_| Err(trouble.clone())).collect(),
            };
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
            } else {
                work.put_back(again);
                work.pause(self.backoff.wait());
                self.backoff.grow();
            }
        }
    }
}
