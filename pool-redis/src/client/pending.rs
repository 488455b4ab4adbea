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
    queue_twice_after: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    job: T,
    /// The submission, or the last answer of the server.
    heard_at: Duration,
    /// The moment from which it may be queued twice.
    queue_twice_at: Duration,
    /// How long it waits after that for the next time.
    queue_twice_wait: Duration,
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
    /// Asks the server about a job that was silent for `ask_after`, and has one queued twice that no agent took within `lease`.
    pub(crate) fn new(ask_after: Duration, lease: Duration) -> Self {
        Pending { jobs: BTreeMap::new(), next: 0, ask_after, queue_twice_after: lease }
    }

    pub(crate) fn add(&mut self, job: T, now: Duration) -> JobNumber {
        self.next += 1;
        let number = JobNumber(self.next);
        let wait = self.queue_twice_after;
        self.jobs.insert(number, Entry { job, heard_at: now, queue_twice_at: now + wait, queue_twice_wait: wait });
        number
    }

    pub(crate) fn get(&self, number: JobNumber) -> Option<T> {
        self.jobs.get(&number).map(|entry| entry.job.clone())
    }

    /// The job has an outcome, or is given up. None if it is not the first.
    pub(crate) fn remove(&mut self, number: JobNumber) -> Option<T> {
        self.jobs.remove(&number).map(|entry| entry.job)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs that the server is to be asked about now.
    pub(crate) fn questions(&self, now: Duration) -> Vec<Question<T>> {
        let silent = self.jobs.iter().filter(|(_, entry)| now >= entry.heard_at + self.ask_after);
        silent
            .map(|(&number, entry)| Question {
                number,
                job: entry.job.clone(),
                queue_twice: now >= entry.queue_twice_at,
            })
            .collect()
    }

    /// Takes in the server's answer to a question.
    pub(crate) fn answer(&mut self, question: &Question<T>, standing: Standing, now: Duration) -> Next {
        let Some(entry) = self.jobs.get_mut(&question.number) else {
            return Next::Wait;
        };
        entry.heard_at = now;
        if question.queue_twice || standing != Standing::Queued {
            // Ever more seldom, so that a queue that moves slowly does not fill with copies.
            entry.queue_twice_wait =
                if standing == Standing::Queued { entry.queue_twice_wait * 2 } else { self.queue_twice_after };
            entry.queue_twice_at = now + entry.queue_twice_wait;
        }
        match standing {
            Standing::Queued | Standing::Owned | Standing::Redelivered(_) => Next::Wait,
            Standing::Unknown => Next::Resubmit,
            Standing::Lost(agent) => {
                self.jobs.remove(&question.number);
                Next::Lost(agent)
            }
        }
    }
}
