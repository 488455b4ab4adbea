//! Outcomes on their way to the server, all that waited in one go, and what comes of them.

use redis::{Cmd, Value};

use super::work::{Done, Work};
use crate::commands;
use crate::connection::Trouble;

/// Outcomes sent in one go.
const OUTCOMES_MAX: usize = 64;

/// Outcomes that wait no longer, each with its command.
#[derive(Debug)]
pub(super) struct Outcomes {
    outcomes: Vec<Done>,
    commands: Vec<Cmd>,
}

impl Outcomes {
    /// Those that wait.
    pub(super) fn take(work: &Work) -> Outcomes {
        let outcomes = work.take_outcomes(OUTCOMES_MAX);
        let finish = |(delivery, outcome): &Done| commands::finish(&work.keys, work.agent, *delivery, outcome);
        let commands = outcomes.iter().map(finish).collect();
        Outcomes { outcomes, commands }
    }

    pub(super) fn commands(&self) -> &[Cmd] {
        &self.commands
    }

    /// Takes the answers to all of them. Those that the server cannot take now wait again; then it returns false.
    pub(super) fn settle(self, work: &Work, mut answer: impl FnMut() -> Result<Value, Trouble>) -> bool {
        // Each has an answer of its own: one that is refused must not hold up the others.
        let mut again = Vec::new();
        for outcome in self.outcomes {
            match answer().and_then(commands::finished) {
                // Taken, or the job is another agent's, or nobody's: this agent is through with it.
                Ok(_) => work.finished(outcome.0),
                Err(trouble) if trouble.is_permanent => work.fail(trouble.error("handing in results")),
                Err(_) => again.push(outcome),
            }
        }
        let are_taken = again.is_empty();
        work.put_back(again);
        are_taken
    }
}
