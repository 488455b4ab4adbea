//! The numbers of the jobs that a client has submitted, and its part of the lease protocol. Pure: the time is given, and nothing is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::{AgentId, JobNumber, Question, Standing};

/// Jobs without an outcome; `T` is kept with each.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    jobs: BTreeMap<JobNumber, Entry<T>>,
    next: u64,
    ask_after: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    job: T,
    /// The submission, or the last answer of the server.
    heard_at: Duration,
    /// No queue had it then, and no agent.
    was_popped: bool,
}

/// The consequence of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The job goes on.
    Wait,
    /// The job is to be submitted again, under the same number.
    Resubmit,
    /// The job is over, without an outcome.
    Lost(AgentId),
}

impl<T: Clone> Pending<T> {
    /// Asks the server about a job that was silent for `ask_after`.
    pub(crate) fn new(ask_after: Duration) -> Self {
        Pending { jobs: BTreeMap::new(), next: 0, ask_after }
    }

    pub(crate) fn add(&mut self, job: T, now: Duration) -> JobNumber {
        self.next += 1;
        let number = JobNumber(self.next);
        self.jobs.insert(number, Entry { job, heard_at: now, was_popped: false });
        number
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &T> {
        self.jobs.values().map(|entry| &entry.job)
    }

    pub(crate) fn get(&self, number: JobNumber) -> Option<T> {
        self.jobs.get(&number).map(|entry| entry.job.clone())
    }

    /// The job has an outcome, or is given up. None if it is not the first.
    pub(crate) fn remove(&mut self, number: JobNumber) -> Option<T> {
        self.jobs.remove(&number).map(|entry| entry.job)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs that the server is to be asked about now.
    pub(crate) fn questions(&self, now: Duration) -> Vec<Question<T>> {
        let silent = self.jobs.iter().filter(|(_, entry)| now >= entry.heard_at + self.ask_after);
        silent.map(|(&number, entry)| Question { number, job: entry.job.clone(), requeue: entry.was_popped }).collect()
    }

    /// Takes in the server's answer to a question.
    pub(crate) fn answer(&mut self, question: &Question<T>, standing: Standing, now: Duration) -> Next {
        let Some(entry) = self.jobs.get_mut(&question.number) else {
            return Next::Wait;
        };
        entry.heard_at = now;
        // At two looks in a row, since the agent that popped it claims it within a moment if it lives.
        entry.was_popped = standing == Standing::Popped;
        match standing {
            Standing::Queued | Standing::Popped | Standing::Owned | Standing::Redelivered(_) => Next::Wait,
            Standing::Unknown => Next::Resubmit,
            Standing::Lost(agent) => {
                self.jobs.remove(&question.number);
                Next::Lost(agent)
            }
        }
    }
}
