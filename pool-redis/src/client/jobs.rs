//! The jobs of a client that have no outcome, and the threads that wait for them.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pool_core::Error;

use super::pending::{Next, Pending};
use crate::connection::Trouble;
use crate::protocol::{JobNumber, Question, Standing};

/// A job of which the server said nothing for so long is asked about.
pub(super) const ASK_AFTER: Duration = Duration::from_secs(1);

/// The jobs, and the last word of the server.
#[derive(Debug)]
pub(super) struct Jobs {
    /// Times count from here.
    start: Instant,
    pending: Mutex<Pending<Arc<Job>>>,
    contact: Mutex<Contact>,
}

/// The last word of the server.
#[derive(Debug)]
struct Contact {
    at: Instant,
    trouble: Option<Trouble>,
}

/// A job, as the thread that waits for it, the writer and the reader know it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) queue: Arc<str>,
    pub(super) body: Vec<u8>,
    end: Mutex<Option<End>>,
    ended: Condvar,
}

/// A job and its number.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) number: JobNumber,
    job: Arc<Job>,
}

#[derive(Debug)]
pub(super) enum End {
    /// The bytes of its reply.
    Outcome(Vec<u8>),
    Failed(Error),
}

impl std::ops::Deref for Numbered {
    type Target = Job;

    fn deref(&self) -> &Job {
        &self.job
    }
}

impl Job {
    pub(super) fn end(&self, end: End) {
        *lock(&self.end) = Some(end);
        self.ended.notify_one();
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.end).is_some()
    }

    /// Waits for the end for a while.
    pub(super) fn wait(&self, most: Duration) -> Option<End> {
        let end = lock(&self.end);
        let waited = self.ended.wait_timeout_while(end, most, |end| end.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

impl Jobs {
    pub(super) fn new() -> Jobs {
        Jobs {
            start: Instant::now(),
            pending: Mutex::new(Pending::new(ASK_AFTER)),
            contact: Mutex::new(Contact { at: Instant::now(), trouble: None }),
        }
    }

    pub(super) fn add(&self, queue: String, body: Vec<u8>) -> Numbered {
        let job = Arc::new(Job { queue: queue.into(), body, end: Mutex::default(), ended: Condvar::new() });
        let number = lock(&self.pending).add(Arc::clone(&job), self.start.elapsed());
        Numbered { number, job }
    }

    /// The job, if it has no outcome yet.
    pub(super) fn get(&self, number: JobNumber) -> Option<Arc<Job>> {
        lock(&self.pending).get(number)
    }

    /// The job, the first time that it is removed: its one outcome is the caller's.
    pub(super) fn remove(&self, number: JobNumber) -> Option<Arc<Job>> {
        lock(&self.pending).remove(number)
    }

    /// Whether none waits for an outcome.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.pending).is_empty()
    }

    /// The jobs to ask about now.
    pub(super) fn questions(&self, is_all: bool) -> Vec<Question<Arc<Job>>> {
        let now = self.start.elapsed();
        // After a new connection none waits: the server may have lost them all.
        lock(&self.pending).questions(if is_all { now + ASK_AFTER } else { now })
    }

    pub(super) fn answer(&self, question: &Question<Arc<Job>>, standing: Standing) -> Next {
        lock(&self.pending).answer(question, standing, self.start.elapsed())
    }

    /// The server has answered.
    pub(super) fn note_contact(&self) {
        *lock(&self.contact) = Contact { at: Instant::now(), trouble: None };
    }

    /// The server has not answered.
    pub(super) fn note_trouble(&self, trouble: Trouble) {
        lock(&self.contact).trouble = Some(trouble);
    }

    /// The time since the last answer.
    pub(super) fn silence(&self) -> Duration {
        lock(&self.contact).at.elapsed()
    }

    /// Whether the server has failed, and not answered for longer than the time. Without a failure it may have had no occasion.
    pub(super) fn is_away(&self, timeout: Duration) -> bool {
        let contact = lock(&self.contact);
        contact.trouble.is_some() && contact.at.elapsed() > timeout
    }

    /// The queues of the jobs.
    pub(super) fn queues(&self) -> BTreeSet<Arc<str>> {
        lock(&self.pending).jobs().map(|job| Arc::clone(&job.queue)).collect()
    }

    /// The failure since the last answer, if there is one.
    pub(super) fn last_trouble(&self) -> Option<Trouble> {
        lock(&self.contact).trouble.clone()
    }

    /// The last failure.
    pub(super) fn trouble(&self) -> String {
        lock(&self.contact).trouble.as_ref().map_or_else(|| "Redis: no answer".to_owned(), ToString::to_string)
    }
}

/// Nothing that can panic runs under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
