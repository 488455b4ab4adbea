//! The state that the threads of an agent share: the deliveries that it holds, and the outcomes that wait to be handed in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pool_core::remote::{self, Failure, Outcome, Reply, Request, Runner, Stop};
use pool_core::{Error, ErrorKind};

use super::held::Held;
use super::store::{Parts, Store};
use crate::blob::{BLOB_BYTES_MAX, Blob, MESSAGE_BYTES_MAX};
use crate::head::Head;
use crate::keys::Keys;
use crate::message::{self, Answer};
use crate::protocol::{AgentId, Delivery, SessionId};
use crate::settings::Settings;

/// The state of an agent.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) agent: AgentId,
    pub(super) keys: Keys,
    pub(super) lease: Duration,
    workers: usize,
    store: Store,
    state: Mutex<State>,
    /// The end has come.
    ended: Condvar,
    /// A runner has something to do.
    has_steps: Condvar,
    /// Outcomes wait that no runner hands in, or the end has come.
    has_outcomes: Condvar,
}

#[derive(Debug)]
struct State {
    /// With the word that stops each.
    held: Held<Stop>,
    /// The takers that do not wait at the server.
    takers: Vec<usize>,
    /// The number of those that do, and of the jobs that they may take.
    away: usize,
    reserved: usize,
    /// Jobs that were taken together with others.
    taken: VecDeque<Job>,
    /// Deliveries were taken that the server does not know to be the agent's.
    has_unclaimed: bool,
    outcomes: VecDeque<Done>,
    /// The clients that were told of the workers within [`REPORT_EVERY`].
    reported: BTreeMap<SessionId, Instant>,
    /// The mean time of a request; each new one counts for a quarter (EWMA).
    pace: Duration,
    failure: Option<Error>,
    is_over: bool,
    /// Outcomes that the server has heard of.
    done: u64,
    /// Jobs that became another agent's, or nobody's.
    lost: u64,
}

/// The next thing that a runner does.
#[derive(Debug)]
pub(super) enum Step {
    /// Runs the job.
    Run(Job),
    /// By the taker of this number waits at the server for at most so many jobs, and hands in the outcomes that wait.
    Take(usize, usize),
    /// Hands in the outcomes that wait.
    HandIn,
}

/// A request that is to run.
#[derive(Debug)]
pub(super) struct Job {
    delivery: Delivery,
    body: Vec<u8>,
    stop: Stop,
}

/// A delivery, and the bytes of its reply.
pub(super) type Done = (Delivery, Vec<u8>);

/// Connections that wait for jobs: while the job of one runs, the other waits for the next, and no thread has to be woken for that.
pub(super) const TAKERS: usize = 2;
/// A request that takes less is short.
const SHORT: Duration = Duration::from_millis(50);
/// How often a client is told of the workers.
const REPORT_EVERY: Duration = Duration::from_millis(250);

impl Work {
    pub(super) fn new(agent: AgentId, settings: &Settings, workers: usize, store: Store) -> Work {
        let state = State {
            held: Held::new(),
            takers: (0..TAKERS).collect(),
            away: 0,
            reserved: 0,
            taken: VecDeque::new(),
            has_unclaimed: false,
            outcomes: VecDeque::new(),
            reported: BTreeMap::new(),
            pace: Duration::ZERO,
            failure: None,
            is_over: false,
            done: 0,
            lost: 0,
        };
        Work {
            agent,
            keys: settings.keys(),
            lease: settings.lease,
            workers,
            store,
            state: Mutex::new(state),
            ended: Condvar::new(),
            has_steps: Condvar::new(),
            has_outcomes: Condvar::new(),
        }
    }

    /// Nothing that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- the runners ---------------------------------------------------------------------------------------------------

    /// The requests that run at once, at most: of short ones as many again as there are workers, so that no worker waits for the
    /// next one to come from the server.
    pub(super) fn capacity(workers: usize) -> usize {
        2 * workers
    }

    /// Waits for something to do. None when no more is to be taken. `has_outcome` says that the caller has just run a job.
    pub(super) fn next_step(&self, has_outcome: bool) -> Option<Step> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.taken.pop_front() {
                return Some(if has_outcome {
                    state.taken.push_front(job);
                    Step::HandIn
                } else {
                    Step::Run(job)
                });
            }
            let room = self.room(&state);
            // One at the server is enough, but an outcome is to be brought there in any case.
            if room > 0
                && (has_outcome || state.away == 0)
                && let Some(taker) = state.takers.pop()
            {
                // Half of the room, so that another can wait there as well.
                let count = room.div_ceil(2);
                state.away += 1;
                state.reserved += count;
                return Some(Step::Take(taker, count));
            }
            if has_outcome {
                return Some(Step::HandIn);
            }
            if state.held.is_draining() {
                return None;
            }
            state = self.has_steps.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The jobs that may be taken beside those for which takers wait.
    fn room(&self, state: &State) -> usize {
        let is_short = state.pace < SHORT;
        let room = state.held.room(if is_short { Work::capacity(self.workers) } else { self.workers });
        room.saturating_sub(state.reserved)
    }

    /// A taker is back, with these jobs. The caller runs one of them.
    pub(super) fn took(&self, taker: usize, count: usize, jobs: Vec<Job>) {
        let mut state = self.lock();
        state.takers.push(taker);
        state.away -= 1;
        state.reserved -= count;
        state.taken.extend(jobs);
        // The caller is awake, and takes the first.
        let others = state.taken.len().saturating_sub(1);
        // Woken only now, since a job is about to keep this one busy.
        let next_taker = usize::from(state.away == 0 && !state.taken.is_empty() && self.room(&state) > 0);
        drop(state);
        (0..others + next_taker).for_each(|_| self.has_steps.notify_one());
    }

    /// Deliveries were taken without a claim.
    pub(super) fn note_unclaimed(&self) {
        self.lock().has_unclaimed = true;
    }

    pub(super) fn hold(&self, delivery: Delivery, body: Vec<u8>) -> Option<Job> {
        let stop = Stop::new();
        let is_new = self.lock().held.hold(delivery, stop.clone());
        is_new.then_some(Job { delivery, body, stop })
    }

    /// Whether the next answer to this client is to tell of the workers.
    fn is_report_due(&self, session: SessionId) -> bool {
        let reported = &mut self.lock().reported;
        // Clients that are gone need no entry.
        reported.retain(|_, at| at.elapsed() < REPORT_EVERY);
        let is_due = !reported.contains_key(&session);
        if is_due {
            reported.insert(session, Instant::now());
        }
        is_due
    }

    /// Runs the job. Its outcome waits to be handed in.
    pub(super) fn run(&self, runner: &Runner, job: Job, host: &str) {
        let Job { delivery, body, stop } = job;
        let (outcome, ran) = self.answer(runner, delivery, &body, &stop, host);
        // Its payloads are in use no longer, and may be more than are kept.
        self.store.shrink();
        let workers = self.is_report_due(delivery.session).then(|| runner.workers());
        let outcome = Head { agent: self.agent.0, ran, workers }.before(&outcome);
        let mut state = self.lock();
        state.pace = (state.pace * 3 + ran) / 4;
        if state.held.ran(delivery) {
            state.outcomes.push_back((delivery, outcome));
        }
    }

    // ---- the finisher --------------------------------------------------------------------------------------------------

    /// Waits until there are outcomes, or the end has come. Returns false at the end.
    pub(super) fn wait_for_outcomes(&self) -> bool {
        let waits = |state: &mut State| state.outcomes.is_empty() && !state.is_over;
        let state = self.has_outcomes.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        !state.is_over
    }

    /// The outcomes that wait.
    pub(super) fn take_outcomes(&self, most: usize) -> Vec<Done> {
        let mut state = self.lock();
        let count = state.outcomes.len().min(most);
        state.outcomes.drain(..count).collect()
    }

    /// These are to be handed in again.
    pub(super) fn put_back(&self, outcomes: Vec<Done>) {
        let mut state = self.lock();
        outcomes.into_iter().rev().for_each(|outcome| state.outcomes.push_front(outcome));
    }

    /// Wakes the finisher's thread, if outcomes wait.
    pub(super) fn notify_finisher(&self) {
        if !self.lock().outcomes.is_empty() {
            self.has_outcomes.notify_one();
        }
    }

    /// The server has taken the outcome, or has given the job to another.
    pub(super) fn finished(&self, delivery: Delivery) {
        let mut state = self.lock();
        state.done += u64::from(state.held.remove(delivery).is_some());
    }

    // ---- the keeper ----------------------------------------------------------------------------------------------------

    /// True if deliveries were taken without a claim since the last time.
    pub(super) fn take_unclaimed(&self) -> bool {
        std::mem::take(&mut self.lock().has_unclaimed)
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.lock().held.deliveries()
    }

    /// The delivery is the agent's no longer: it is stopped.
    pub(super) fn lose(&self, delivery: Delivery) {
        let mut state = self.lock();
        if let Some(stop) = state.held.lose(delivery) {
            stop.set();
            state.lost += 1;
        }
        drop(state);
        // There is room.
        self.has_steps.notify_one();
    }

    /// Jobs that run, outcomes handed in, and jobs lost: for people.
    pub(super) fn status(&self) -> String {
        let state = self.lock();
        format!("{} {} {}", state.held.running(), state.done, state.lost)
    }

    /// Stops all that runs. Items that have not been run go back to their client.
    pub(super) fn stop_all(&self) {
        self.lock().held.values().for_each(Stop::set);
    }

    /// No more is taken.
    pub(super) fn drain(&self) {
        self.lock().held.drain();
        self.has_steps.notify_all();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.lock().held.is_draining()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().held.is_empty()
    }

    // ---- the end -------------------------------------------------------------------------------------------------------

    /// The agent ends with this error, unless it has another.
    pub(super) fn fail(&self, error: Error) {
        self.lock().failure.get_or_insert(error);
        self.end();
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
    }

    /// Stops all that runs. All threads end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.held.drain();
        state.is_over = true;
        state.held.remove_all().iter().for_each(Stop::set);
        drop(state);
        self.ended.notify_all();
        self.has_steps.notify_all();
        self.has_outcomes.notify_all();
    }

    /// Sleeps, but no longer than until the end.
    pub(super) fn pause(&self, time: Duration) {
        let _ = self.ended.wait_timeout_while(self.lock(), time, |state| !state.is_over);
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }
}

// ---- one request -------------------------------------------------------------------------------------------------------

impl Work {
    /// The answer to the request in `body` as bytes, and the time that it took.
    fn answer(&self, runner: &Runner, delivery: Delivery, body: &[u8], stop: &Stop, host: &str) -> (Vec<u8>, Duration) {
        let Ok((mut request, apart)) = message::decode_request(body) else {
            // Of no honest client: it takes the reply for too few outcomes.
            let reply = Reply { outcomes: Vec::new(), ran: Duration::ZERO };
            return (message::encode_answer(&Answer::Reply(reply)), Duration::ZERO);
        };
        if let Some(apart) = apart {
            match self.store.get(&apart, stop) {
                Ok(Some(Parts { body, arrays })) => {
                    request.body = body.unwrap_or(request.body);
                    request.arrays = arrays;
                }
                Ok(None) => {
                    let bytes = apart.blobs().filter_map(|blob| blob.len()).sum::<usize>();
                    return (message::encode_answer(&Answer::Missing(bytes as u64)), Duration::ZERO);
                }
                Err(error) => {
                    let reply = undone(&request, &error, host);
                    return (message::encode_answer(&Answer::Reply(reply)), Duration::ZERO);
                }
            }
        }
        let mut reply = runner.run(&request, stop);
        // Without the way of its results to the server: the pool makes its chunks by it.
        let ran = reply.ran;
        let at_host = |outcome| match outcome {
            Outcome::Failed(failure) => Outcome::Failed(failure.at(host)),
            outcome => outcome,
        };
        reply.outcomes = reply.outcomes.into_iter().map(at_host).collect();
        message::strip(&mut reply, &request.arrays);
        (self.packed(&request, delivery, reply, stop, host), ran)
    }

    /// The reply as bytes that can travel with the job.
    fn packed(&self, request: &Request, delivery: Delivery, reply: Reply, stop: &Stop, host: &str) -> Vec<u8> {
        let answer = Answer::Reply(reply);
        let bytes = message::encode_answer(&answer);
        let Answer::Reply(reply) = answer else { return bytes };
        if bytes.len() <= MESSAGE_BYTES_MAX {
            return bytes;
        }
        let bytes = message::encode_reply(&reply);
        // Before they are there, since they stay no longer than the lease of the client, until it reads them.
        let blob = Blob::of(&bytes);
        let put = match bytes.len() <= BLOB_BYTES_MAX {
            true => self.store.put_reply(delivery, &bytes, stop),
            false => {
                let text = format!("results of {} bytes; over Redis they may have {BLOB_BYTES_MAX}", bytes.len());
                Err(remote::error(ErrorKind::TooLarge, text))
            }
        };
        message::encode_answer(&match put {
            // Or nobody waits for them.
            Ok(_) => Answer::Large(blob, delivery.count),
            Err(error) => Answer::Reply(undone(request, &error, host)),
        })
    }
}

/// The reply to a request that failed as a whole.
fn undone(request: &Request, error: &Error, host: &str) -> Reply {
    match error.kind() {
        // Another agent may do better.
        ErrorKind::Cancelled | ErrorKind::Unreachable => message::not_run(request.items),
        _ => {
            let failure = Failure::of(error).at(host);
            let outcomes = (0..request.items).map(|_| Outcome::Failed(failure.clone())).collect();
            Reply { outcomes, ran: Duration::ZERO }
        }
    }
}
