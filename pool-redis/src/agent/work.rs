//! What the threads of an agent share: the deliveries that it holds, and the outcomes that wait to be handed in.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool_core::remote::{Failure, Outcome, Reply, Request, Runner, Stop};
use pool_core::{Error, ErrorKind};

use super::held::Held;
use crate::keys::Keys;
use crate::protocol::{AgentId, Delivery};
use crate::settings::Settings;

/// The state of an agent.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) agent: AgentId,
    pub(super) keys: Keys,
    pub(super) lease: Duration,
    state: Mutex<State>,
    /// There is room, an outcome waits, or the end has come.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// With the word that stops each.
    held: Held<Stop>,
    outcomes: VecDeque<(Delivery, Vec<u8>)>,
    failure: Option<Error>,
    is_over: bool,
}

/// A request that is to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) body: Vec<u8>,
    stop: Stop,
}

/// The jobs that wait for a runner.
pub(super) type Jobs = Arc<Mutex<Receiver<Job>>>;

pub(super) fn channel() -> (Sender<Job>, Jobs) {
    let (sender, receiver) = mpsc::channel();
    (sender, Arc::new(Mutex::new(receiver)))
}

/// Redis takes no larger value.
const REPLY_BYTES_MAX: usize = 500 << 20;

impl Work {
    pub(super) fn new(agent: AgentId, settings: &Settings, capacity: usize) -> Work {
        let state = State { held: Held::new(capacity), outcomes: VecDeque::new(), failure: None, is_over: false };
        Work { agent, keys: settings.keys(), lease: settings.lease, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Nothing that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !ready(state);
        self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner)
    }

    // ---- the taker -----------------------------------------------------------------------------------------------------

    /// Waits for room. None when no more is to be taken.
    pub(super) fn wait_for_room(&self) -> Option<usize> {
        let state = self.wait_until(|state| state.held.room() > 0 || state.held.is_draining());
        (!state.held.is_draining()).then(|| state.held.room())
    }

    pub(super) fn claim(&self, delivery: Delivery, body: Vec<u8>) -> Option<Job> {
        let stop = Stop::new();
        let is_new = self.lock().held.claim(delivery, stop.clone());
        is_new.then_some(Job { delivery, body, stop })
    }

    // ---- the runners ---------------------------------------------------------------------------------------------------

    /// Runs jobs until there will be no more.
    pub(super) fn run_jobs(&self, runner: &Runner, jobs: &Jobs, host: &str) {
        loop {
            // One waits for a job, the others for it.
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { delivery, body, stop }) = job else {
                return;
            };
            let outcome = run(runner, &body, &stop, host);
            let mut state = self.lock();
            if state.held.ran(delivery) {
                state.outcomes.push_back((delivery, outcome));
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    // ---- the finisher --------------------------------------------------------------------------------------------------

    /// Waits for outcomes. None after the end.
    pub(super) fn take_outcomes(&self, most: usize) -> Option<Vec<(Delivery, Vec<u8>)>> {
        let mut state = self.wait_until(|state| !state.outcomes.is_empty() || state.is_over);
        let count = state.outcomes.len().min(most);
        (!state.is_over).then(|| state.outcomes.drain(..count).collect())
    }

    /// These are to be handed in again.
    pub(super) fn put_back(&self, outcomes: Vec<(Delivery, Vec<u8>)>) {
        let mut state = self.lock();
        outcomes.into_iter().rev().for_each(|outcome| state.outcomes.push_front(outcome));
    }

    /// The server has taken the outcome, or has given the job to another.
    pub(super) fn finished(&self, delivery: Delivery) {
        self.lock().held.remove(delivery);
        self.changed.notify_all();
    }

    // ---- the keeper ----------------------------------------------------------------------------------------------------

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.lock().held.deliveries()
    }

    /// The delivery is the agent's no longer: it is stopped.
    pub(super) fn lose(&self, delivery: Delivery) {
        if let Some(stop) = self.lock().held.remove(delivery) {
            stop.set();
        }
        self.changed.notify_all();
    }

    /// No more is taken.
    pub(super) fn drain(&self) {
        self.lock().held.drain();
        self.changed.notify_all();
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
        self.changed.notify_all();
    }

    /// Sleeps, but no longer than until the end.
    pub(super) fn pause(&self, time: Duration) {
        let _ = self.changed.wait_timeout_while(self.lock(), time, |state| !state.is_over);
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }
}

/// The reply to the request in `body`, as bytes.
fn run(runner: &Runner, body: &[u8], stop: &Stop, host: &str) -> Vec<u8> {
    let request: Request = match postcard::from_bytes(body) {
        Ok(request) => request,
        // Of a client of another version: it takes the reply for too few outcomes.
        Err(_) => return encode(&Reply { outcomes: Vec::new(), ran: Duration::ZERO }),
    };
    let mut reply = runner.run(&request, stop);
    let at_host = |outcome| match outcome {
        Outcome::Failed(failure) => Outcome::Failed(failure.at(host)),
        outcome => outcome,
    };
    reply.outcomes = reply.outcomes.into_iter().map(at_host).collect();
    let bytes = encode(&reply);
    if bytes.len() <= REPLY_BYTES_MAX {
        return bytes;
    }
    let text = format!("the results of a request have {} bytes; Redis takes {REPLY_BYTES_MAX}", bytes.len());
    let failed = |_| Outcome::Failed(Failure::new(ErrorKind::TooLarge, text.clone()).at(host));
    encode(&Reply { outcomes: (0..request.items).map(failed).collect(), ..reply })
}

fn encode(reply: &Reply) -> Vec<u8> {
    postcard::to_allocvec(reply).expect("bytes, strings and numbers are encoded without an error")
}
