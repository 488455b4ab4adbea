//! Takes jobs: pops deliveries from the queues of the agent's tasks, and claims them.
//!
//! The runners do it in turn. One waits at the server, and runs the job itself that it gets, while another takes its place. So no job
//! waits for a thread to wake. A runner that comes with an outcome hands it in by the same way, and waits at the server, too: then the
//! one that gets the next job need not wake another.
//!
//! A delivery that was popped is nobody's until it is claimed, or until the keeper renews leases the next time, if it came with its body.
//! If the agent ends before, the client has it queued again, then without its body.

use std::time::Duration;

use pool_core::remote::TaskKey;
use redis::Client;

use super::outcomes::Outcomes;
use super::queues::Queues;
use super::work::{Job, Work};
use crate::commands::{self, Taken};
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::Delivery;

/// A pop that blocks longer would hold up an agent that is to end.
const BLOCKS: Duration = Duration::from_secs(1);

/// One connection by which jobs are taken.
#[derive(Debug)]
pub(super) struct Taker {
    line: Line,
    queues: Queues,
    backoff: Backoff,
}

impl Taker {
    pub(super) fn new(client: &Client, work: &Work, tasks: &[TaskKey]) -> Taker {
        Taker {
            line: Line::new(client, commands::TAKER_SCRIPTS, BLOCKS),
            queues: Queues::new(&work.keys, tasks),
            backoff: Backoff::new(),
        }
    }

    /// Hands in the outcomes that wait, and waits a while for at most so many jobs.
    pub(super) fn take(&mut self, work: &Work, count: usize) -> Vec<Job> {
        let outcomes = Outcomes::take(work);
        // In one go: the outcome is handed in while the connection would only wait.
        let take = commands::take(self.queues.in_turn(), count, BLOCKS);
        let commands: Vec<_> = outcomes.commands().iter().chain([&take]).cloned().collect();
        let sent = self.line.send(&commands, None);
        // Also if nothing was sent: then they go back.
        if !outcomes.settle(work, || sent.clone().and_then(|()| self.line.receive()?)) {
            work.notify_finisher();
        }
        match sent.and_then(|()| self.line.receive()?).and_then(commands::taken) {
            Ok(taken) => self.hold(work, taken),
            Err(trouble) => {
                self.rest(work, trouble);
                Vec::new()
            }
        }
    }

    fn hold(&mut self, work: &Work, taken: Vec<Taken>) -> Vec<Job> {
        self.backoff.reset();
        let (mut jobs, mut bare) = (Vec::new(), Vec::new());
        for (delivery, body) in taken {
            match body {
                Some(body) => {
                    jobs.extend(work.hold(delivery, body));
                    work.note_unclaimed();
                }
                None => bare.push(delivery),
            }
        }
        if !bare.is_empty() {
            jobs.extend(self.claim(work, &bare));
        }
        jobs
    }

    /// The same claim may be made twice: the server gives the same answer.
    fn claim(&mut self, work: &Work, deliveries: &[Delivery]) -> Vec<Job> {
        let command = commands::claim(&work.keys, work.agent, work.lease, deliveries);
        while !work.is_over() {
            match self.line.ask(&command).and_then(|value| commands::claimed(value, deliveries.len())) {
                Ok(bodies) => {
                    let jobs = deliveries.iter().zip(bodies);
                    return jobs.filter_map(|(&delivery, body)| work.hold(delivery, body?)).collect();
                }
                Err(trouble) => self.rest(work, trouble),
            }
        }
        Vec::new()
    }

    fn rest(&mut self, work: &Work, trouble: Trouble) {
        if trouble.is_permanent {
            work.fail(trouble.error("taking jobs"));
        }
        work.pause(self.backoff.wait());
        self.backoff.grow();
    }
}
