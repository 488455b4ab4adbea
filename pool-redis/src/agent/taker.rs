//! The thread that takes jobs: it pops deliveries from the queues of the agent's tasks, and claims them.
//!
//! Between the two a delivery is nobody's; if the agent ends there, the client has it queued again.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use pool_core::remote::TaskKey;
use redis::Client;

use super::work::{Job, Work};
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::Delivery;

/// A pop that blocks longer would hold up an agent that is to end.
const BLOCKS: Duration = Duration::from_secs(1);

/// The thread.
#[derive(Debug)]
pub(super) struct Taker {
    work: Arc<Work>,
    line: Line,
    queues: Vec<String>,
    jobs: Sender<Job>,
    backoff: Backoff,
}

impl Taker {
    pub(super) fn new(client: &Client, work: &Arc<Work>, tasks: &[TaskKey], jobs: Sender<Job>) -> Taker {
        Taker {
            work: Arc::clone(work),
            line: Line::new(client, commands::TAKER_SCRIPTS, BLOCKS),
            queues: tasks.iter().map(|task| work.keys.queue(task)).collect(),
            jobs,
            backoff: Backoff::new(),
        }
    }

    pub(super) fn run(mut self) {
        while let Some(room) = self.work.wait_for_room() {
            // Else the queues in front would starve those behind.
            self.queues.rotate_left(1);
            let popped = self.line.ask(&commands::take(&self.queues, room, BLOCKS)).and_then(commands::deliveries);
            match popped {
                Ok(deliveries) if deliveries.is_empty() => self.backoff.reset(),
                Ok(deliveries) => self.claim(&deliveries),
                Err(trouble) => self.rest(trouble),
            }
        }
    }

    /// The same claim may be made twice: the server gives the same answer.
    fn claim(&mut self, deliveries: &[Delivery]) {
        let work = Arc::clone(&self.work);
        let command = commands::claim(&work.keys, work.agent, work.lease, deliveries);
        while !work.is_over() {
            let claimed = self.line.ask(&command).and_then(|value| commands::claimed(value, deliveries.len()));
            match claimed {
                Ok(bodies) => {
                    self.backoff.reset();
                    let jobs = deliveries.iter().zip(bodies);
                    let jobs = jobs.filter_map(|(&delivery, body)| work.claim(delivery, body?));
                    // There are runners as long as there is a taker.
                    jobs.for_each(|job| drop(self.jobs.send(job)));
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
