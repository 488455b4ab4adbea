//! The thread that takes in replies, and keeps the session alive.
//!
//! One thread does both in turn. So a job that the server does not know, while no reply waits there, has no outcome under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_core::{ErrorKind, remote};
use redis::Client;

use super::jobs::{ASK_AFTER, End};
use super::pending::Next;
use super::shared::Shared;
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::{AgentId, Standing};

/// Replies taken in one go: enough to share a round trip, and few enough that the first is not held up.
const REPLIES_MAX: usize = 32;
/// Jobs asked about in one go: the server does nothing else meanwhile.
const QUESTIONS_MAX: usize = 500;

/// The thread.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    line: Line,
    backoff: Backoff,
    tend_at: Instant,
    /// Leases do not end before this: after a failure of the server agents get the time to renew theirs.
    leases_end_from: Instant,
    /// All jobs are to be asked about, since the server may have lost them.
    is_new: bool,
}

impl Reader {
    pub(super) fn new(client: &Client, shared: &Arc<Shared>) -> Reader {
        let line = Line::new(client, commands::READER_SCRIPTS, ASK_AFTER);
        let now = Instant::now();
        let shared = Arc::clone(shared);
        Reader { shared, line, backoff: Backoff::new(), tend_at: now, leases_end_from: now, is_new: false }
    }

    /// Begins the session.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        self.tend()
    }

    pub(super) fn run(mut self) {
        while !self.shared.outbox.is_closed() {
            match self.go_on() {
                Ok(()) => self.backoff.reset(),
                Err(trouble) => {
                    self.shared.jobs.note_trouble(trouble);
                    self.is_new = true;
                    self.leases_end_from = Instant::now() + self.shared.lease / 2;
                    self.tend_at = Instant::now();
                    self.shared.outbox.pause(self.backoff.wait());
                    self.backoff.grow();
                }
            }
        }
        // Without an answer it expires.
        if !self.line.is_lost() {
            let _ = self.line.ask(&commands::forget_replies(&self.shared.keys, self.shared.session));
        }
    }

    fn go_on(&mut self) -> Result<(), Trouble> {
        let Shared { keys, session, jobs, .. } = &*self.shared;
        let blocks = self.tend_at.saturating_duration_since(Instant::now());
        // Redis takes 0 for a wait without end.
        let blocks = blocks.clamp(Duration::from_millis(1), ASK_AFTER);
        let answer = self.line.ask(&commands::take_replies(keys, *session, REPLIES_MAX, blocks))?;
        let replies = commands::replies(answer)?;
        jobs.note_contact();
        let is_through = replies.len() < REPLIES_MAX;
        for (number, outcome) in replies {
            // The second outcome of a job, or that of a job that was given up, is nobody's.
            if let Some(job) = jobs.remove(number) {
                job.end(End::Outcome(outcome));
            }
        }
        if is_through && Instant::now() >= self.tend_at { self.tend() } else { Ok(()) }
    }

    fn tend(&mut self) -> Result<(), Trouble> {
        let Shared { keys, session, lease, deliveries_max, jobs, outbox, roster, .. } = &*self.shared;
        let may_expire = Instant::now() >= self.leases_end_from;
        let questions = jobs.questions(self.is_new);
        let mut agents = Vec::new();
        // At least once, since it keeps the session alive.
        for part in 0..questions.len().div_ceil(QUESTIONS_MAX).max(1) {
            let end = questions.len().min((part + 1) * QUESTIONS_MAX);
            let questions = &questions[part * QUESTIONS_MAX..end];
            let command = commands::tend(keys, *session, *lease, *deliveries_max, may_expire, questions, |job| {
                job.queue.to_string()
            });
            let tended = commands::tended(self.line.ask(&command)?, questions.len())?;
            for (question, &standing) in questions.iter().zip(&tended.standings) {
                match jobs.answer(question, standing) {
                    Next::Wait => {}
                    Next::Resubmit => {
                        outbox.submit(question.number);
                        outbox.notify();
                    }
                    Next::Lost(agent) => question.job.end(End::Failed(self.lost(agent))),
                }
                if let Standing::Redelivered(agent) = standing {
                    roster.note_lost(agent);
                }
            }
            agents = tended.agents;
        }
        self.is_new = false;
        self.tend_at = Instant::now() + (*lease / 4).min(ASK_AFTER);
        self.meet(&agents)
    }

    /// Reads about the agents that are new.
    fn meet(&mut self, agents: &[AgentId]) -> Result<(), Trouble> {
        let Shared { keys, roster, .. } = &*self.shared;
        for agent in roster.unknown(agents) {
            let answer = self.line.ask(&commands::advertisement(keys, agent))?;
            if let Some(advertisement) = commands::bytes(answer)? {
                roster.add(agent, &advertisement);
            }
        }
        Ok(())
    }

    fn lost(&self, agent: AgentId) -> pool_core::Error {
        let Shared { deliveries_max, roster, .. } = &*self.shared;
        let host = roster.host(agent);
        let text = format!(
            "{deliveries_max} hosts have lost the items one after the other, the last of them {host}: \
             it ended, or was not heard of for the time of a lease"
        );
        remote::error(ErrorKind::Unreachable, text)
    }
}
