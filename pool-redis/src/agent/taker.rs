//! Takes jobs: pops deliveries from the queues of the agent's tasks, and claims them.
//!
//! The runners do it in turn: one waits at the server, and runs the job itself that it gets, while the next one takes its place. So no
//! job waits for a thread to wake.
//!
//! A delivery that was popped is nobody's until it is claimed. If the agent ends before, the client has it queued again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pool_core::remote::TaskKey;
use redis::Client;

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
    queues: Vec<String>,
    /// Jobs that were taken together with others.
    taken: VecDeque<Job>,
    /// Deliveries whose lease was begun by a command that has no answer yet.
    posted: Vec<Delivery>,
    backoff: Backoff,
}

impl Taker {
    pub(super) fn new(client: &Client, work: &Arc<Work>, tasks: &[TaskKey]) -> Taker {
        Taker {
            work: Arc::clone(work),
            line: Line::new(client, commands::TAKER_SCRIPTS, BLOCKS),
            queues: tasks.iter().map(|task| work.keys.queue(task)).collect(),
            taken: VecDeque::new(),
            posted: Vec::new(),
            backoff: Backoff::new(),
        }
    }

    /// The next job; None when no more is to be taken.
    pub(super) fn next(&mut self) -> Option<Job> {
        loop {
            if let Some(job) = self.taken.pop_front() {
                return Some(job);
            }
            self.read_posted();
            let room = self.work.wait_for_room()?;
            // Else the queues in front would starve those behind.
            self.queues.rotate_left(1);
            match self.line.ask(&commands::take(&self.queues, room, BLOCKS)).and_then(commands::taken) {
                Ok(taken) => self.take(taken),
                Err(trouble) => self.rest(trouble),
            }
        }
    }

    fn take(&mut self, taken: Vec<Taken>) {
        self.backoff.reset();
        let (mut bare, mut with_body) = (Vec::new(), Vec::new());
        for (delivery, body) in taken {
            match body {
                Some(body) => {
                    self.taken.extend(self.work.hold(delivery, body));
                    with_body.push(delivery);
                }
                None => bare.push(delivery),
            }
        }
        if !bare.is_empty() {
            self.claim(&bare);
        }
        if !with_body.is_empty() {
            let Work { keys, agent, lease, .. } = &*self.work;
            // Before they run, so that a job which kills its agent counts; and without waiting for the answer.
            if self.line.post(&commands::renew(keys, *agent, *lease, &[], &with_body)).is_ok() {
                self.posted = with_body;
            }
        }
    }

    /// Takes in the answer to the renewal that was posted.
    fn read_posted(&mut self) {
        let posted = std::mem::take(&mut self.posted);
        if posted.is_empty() {
            return;
        }
        // Without an answer the keeper's next renewal has it.
        let held = self.line.read_posted().and_then(|value| commands::renewed(value, posted.len()));
        let held = held.unwrap_or_else(|_| vec![true; posted.len()]);
        posted.iter().zip(held).filter(|(_, is_held)| !is_held).for_each(|(&delivery, _)| self.work.lose(delivery));
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
