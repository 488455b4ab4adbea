//! Takes in replies, and keeps the session alive.
//!
//! One thread does both in turn. So a job that the server does not know, while no reply waits there, has no outcome under way.
//!
//! A thread that has a job to submit does it for a while, if no other is at it: that saves the job two ways between threads. When it
//! leaves, the reader's own thread goes on, as long as jobs wait for outcomes.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use pool_core::{ErrorKind, remote};
use redis::Client;

use super::jobs::{ASK_AFTER, End, Job, lock};
use super::orders::Orders;
use super::pending::Next;
use super::shared::Shared;
use super::writer::HERE_WAIT;
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};
use crate::protocol::{AgentId, Standing};

/// Replies taken in one go: enough to share a round trip, and few enough that the first is not held up.
const REPLIES_MAX: usize = 32;
/// Jobs asked about in one go: the server does nothing else meanwhile.
const QUESTIONS_MAX: usize = 500;

/// The time for which a thread that waits for its own job takes in replies.
const LEAD: Duration = Duration::from_millis(50);

/// The connection by which replies come.
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
    /// Jobs that have ended, and of which no thread was told.
    ended: Vec<(Arc<Job>, End)>,
}

impl Reader {
    pub(super) fn new(client: &Client, shared: &Arc<Shared>) -> Reader {
        let line = Line::new(client, commands::READER_SCRIPTS, ASK_AFTER);
        let now = Instant::now();
        let shared = Arc::clone(shared);
        let (backoff, ended) = (Backoff::new(), Vec::new());
        Reader { shared, line, backoff, tend_at: now, leases_end_from: now, is_new: false, ended }
    }

    /// Begins the session.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        self.tend()
    }

    /// Submits what waits, and takes in replies until the job has ended, but not for long. Returns false if another thread is at
    /// it, or the connection is lost.
    pub(super) fn lead(reader: &Mutex<Reader>, shared: &Shared, job: &Job) -> bool {
        // Never waits: the thread that has it may be at the server for a second.
        let mut reader = match reader.try_lock() {
            Ok(reader) => reader,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if reader.line.is_lost() {
            return false;
        }
        // Bounded, since its own job may take long while others come and go.
        let until = Instant::now() + LEAD;
        let mut orders = Orders::take(shared);
        loop {
            if let Err(trouble) = reader.go_on(orders, until, Some(LEAD + HERE_WAIT)) {
                reader.note(trouble);
                break;
            }
            let is_over = |ended: &[(Arc<Job>, End)]| ended.iter().any(|(ended, _)| std::ptr::eq(&**ended, job));
            if is_over(&reader.ended) || job.has_ended() || Instant::now() >= until {
                break;
            }
            reader.ended.drain(..).for_each(|(job, end)| job.end(end));
            orders = Orders::take(shared);
        }
        if Reader::leave(reader, shared) {
            shared.outbox.want_reader();
        }
        shared.outbox.notify();
        true
    }

    /// Lets go of the lock, and only then tells the threads of jobs that have ended: so each finds it free for its next job. Returns
    /// whether others still wait, such as those of threads that found the lock taken.
    fn leave(mut reader: MutexGuard<'_, Reader>, shared: &Shared) -> bool {
        let ended = std::mem::take(&mut reader.ended);
        drop(reader);
        // Asked before they are told, since each may submit its next job at once.
        let is_wanted = !shared.jobs.is_empty();
        ended.into_iter().for_each(|(job, end)| job.end(end));
        is_wanted
    }

    /// The thread.
    pub(super) fn run(reader: &Mutex<Reader>, shared: &Shared) {
        let (mut is_wanted, mut tend_at) = (false, Instant::now());
        while !shared.outbox.is_closed() {
            if !is_wanted {
                shared.outbox.wait_for_want(tend_at);
            }
            let mut reader = lock(reader);
            let until = reader.tend_at;
            let result = reader.go_on(Orders::none(), until, None);
            let pause = result.err().map(|trouble| {
                reader.note(trouble);
                reader.backoff.grow();
                reader.backoff.wait()
            });
            tend_at = reader.tend_at;
            is_wanted = Reader::leave(reader, shared);
            if let Some(pause) = pause {
                shared.outbox.pause(pause);
            }
        }
        let mut reader = lock(reader);
        // Without an answer it expires.
        if !reader.line.is_lost() {
            let _ = reader.line.ask(&commands::forget_replies(&shared.keys, shared.session));
        }
    }

    /// The server did not answer.
    fn note(&mut self, trouble: Trouble) {
        self.shared.jobs.note_trouble(trouble);
        self.is_new = true;
        self.leases_end_from = Instant::now() + self.shared.lease / 2;
        self.tend_at = Instant::now();
    }

    /// Sends the orders, and waits for replies until the moment.
    fn go_on(&mut self, orders: Orders, until: Instant, most: Option<Duration>) -> Result<(), Trouble> {
        let Reader { shared, line, backoff, .. } = self;
        let Shared { keys, session, jobs, .. } = &**shared;
        let blocks = until.min(self.tend_at).saturating_duration_since(Instant::now());
        // Redis takes 0 for a wait without end.
        let blocks = blocks.clamp(Duration::from_millis(1), ASK_AFTER);
        let take = commands::take_replies(keys, *session, REPLIES_MAX, blocks);
        let commands: Vec<_> = orders.commands().iter().chain([&take]).cloned().collect();
        let sent = line.send(&commands, most);
        // Also if nothing was sent: then they go back.
        orders.settle(shared, backoff, || sent.clone().and_then(|()| line.receive()?));
        sent?;
        let replies = commands::replies(line.receive()??)?;
        backoff.reset();
        jobs.note_contact();
        let is_through = replies.len() < REPLIES_MAX;
        for (number, outcome) in replies {
            // The second outcome of a job, or that of a job that was given up, is nobody's.
            if let Some(job) = jobs.remove(number) {
                self.ended.push((job, End::Outcome(outcome)));
            }
        }
        if is_through && Instant::now() >= self.tend_at { self.tend() } else { Ok(()) }
    }

    fn tend(&mut self) -> Result<(), Trouble> {
        let Shared { keys, session, lease, deliveries_max, jobs, outbox, roster, blobs, .. } = &*self.shared;
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
                    Next::Lost(agent) => {
                        let end = End::Failed(self.lost(agent));
                        self.ended.push((Arc::clone(&question.job), end));
                    }
                }
                if let Standing::Redelivered(agent) = standing {
                    roster.note_lost(agent);
                }
            }
            agents = tended.agents;
        }
        for answer in self.line.ask_all(&blobs.renewals())? {
            answer?;
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
