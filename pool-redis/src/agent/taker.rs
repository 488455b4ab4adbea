//! Takes jobs: pops deliveries from the queues of the agent's tasks, and claims them.
//!
//! The runners do it in turn: one waits at the server, and runs the job itself that it gets, while the next one takes its place. So no
//! job waits for a thread to wake.
//!
//! A delivery that was popped is nobody's until it is claimed, or until the keeper renews leases the next time, if it came with its body.
//! If the agent ends before, the client has it queued again, then without its body.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pool_core::remote::TaskKey;
use redis::Client;

use super::queues::Queues;
use super::work::{Job, Work};
use crate::commands::{self, Taken};
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::Delivery;

/// A pop that blocks longer would hold up an agent that is to end.
const BLOCKS: Duration = Duration::from_secs(1);

/// The connection by which jobs are taken.
#[derive(Debug)]
pub(super) struct Taker {
    work: Arc<Work>,
    line: Line,
    queues: Queues,
    /// Jobs that were taken together with others.
    taken: VecDeque<Job>,
    backoff: Backoff,
}

impl Taker {
    pub(super) fn new(client: &Client, work: &Arc<Work>, tasks: &[TaskKey]) -> Taker {
        Taker {
            work: Arc::clone(work),
            line: Line::new(client, commands::TAKER_SCRIPTS, BLOCKS),
            queues: Queues::new(&work.keys, tasks),
            taken: VecDeque::new(),
            backoff: Backoff::new(),
        }
    }

    /// The next job; None when no more is to be taken.
    pub(super) fn next(&mut self) -> Option<Job> {
        loop {
            if let Some(job) = self.taken.pop_front() {
                return Some(job);
            }
            let room = self.work.wait_for_room()?;
            match self.line.ask(&commands::take(self.queues.in_turn(), room, BLOCKS)).and_then(commands::taken) {
                Ok(taken) => self.take(taken),
                Err(trouble) => self.rest(trouble),
            }
        }
    }

    fn take(&mut self, taken: Vec<Taken>) {
        self.backoff.reset();
        let mut bare = Vec::new();
        for (delivery, body) in taken {
            match body {
                Some(body) => {
                    self.taken.extend(self.work.hold(delivery, body));
                    self.work.note_unclaimed();
                }
                None => bare.push(delivery),
            }
        }
        if !bare.is_empty() {
            self.claim(&bare);
        }
    }

    /// The same claim may be made twice: the server gives the same answer.
    fn claim(&mut self, deliveries: &[Delivery]) {
        let work = Arc::clone(&self.work);
        let command = commands::claim(&work.keys, work.agent, work.lease, deliveries);
        while !work.is_over() {
            match self.line.ask(&command).and_then(|value| commands::claimed(value, deliveries.len())) {
                Ok(bodies) => {
                    let jobs = deliveries.iter().zip(bodies);
                    self.taken.extend(jobs.filter_map(|(&delivery, body)| work.hold(delivery, body?)));
                    return;
                }
                Err(trouble) => self.rest(trouble),
            }
        }
    }

    fn rest(&mut self, trouble: Trouble) {
        if trouble.is_permanent {
            self.work.fail(trouble.error("taking jobs"));
        }
        self.work.pause(self.backoff.wait());
        self.backoff.grow();
    }
}
