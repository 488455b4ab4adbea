//! The calls that workers make on their own behalf, in the life of one process:
//!
//! 1. The supervisor asks the fork server, which forks, sets the worker's variables, and reports the process.
//! 2. The engine sends the worker's own calls one after the other, the next when the one before has been answered: the
//!    initializer, then each state. Then the worker is ready and takes chunks. A failure, a death or a time limit before that
//!    is a failed start.
//! 3. A task takes its states out of a thread-local list, and gives them back. One that a panic may have spoiled is opened anew
//!    between two items; if that fails, the process leaves, and its successor's start says why.
//! 4. Told to leave, it runs the finalizer, drops its states, and ends by `_exit`. The scheduler kills it if that takes too
//!    long.

use std::sync::Arc;

use pool_ipc::Header;
use pool_ipc::sys::monotonic_ns;

use super::Engine;
use super::own_call::{Asked, Moment, STATE};
use super::wording::exceeded;
use crate::codec::bytes::{Bytes, Cut};
use crate::error::{Error, ErrorKind};
use crate::lane::messages::{Request, RunRequest, request};
use crate::lane::reply::Reply;
use crate::observe::log::{Process, Record};
use crate::process::death::Death;
use crate::process::last_words::LastWords;
use crate::scheduler::{ExitReason, ProtocolViolation, WorkerId};
use crate::units::Nanos;

impl Engine {
    /// The first request to a new process, or the next one before it is ready.
    pub(super) fn ask_to_start(&self, number: usize, elapsed: Nanos) -> (Header, Cut, Asked) {
        let moment = Moment::Start(number);
        match self.own_calls.start.get(number) {
            Some(call) => {
                let asked = Asked { moment, left: 1, elapsed };
                (call.request(Request::Init, asked.seq()), call.args.clone(), asked)
            }
            None => {
                let asked = Asked { moment, left: 0, elapsed };
                let (kind, task) = (Request::Init, request::NO_TASK);
                let init = RunRequest { kind, seq: asked.seq(), task, items: 0, time_limit_ns: 0, flags: 0 };
                (init.header(), Cut::default(), asked)
            }
        }
    }

    /// Takes the answer to a call of the worker's own; `None` if it answers something else.
    #[cold]
    pub(super) fn take_own(
        &mut self,
        worker: WorkerId,
        asked: Asked,
        reply: Reply,
    ) -> Result<Option<Reply>, ProtocolViolation> {
        let Reply { seq, items, failed, last, elapsed, .. } = reply;
        // The last chunks may not have been answered when the worker is told to leave.
        if asked.moment == Moment::End && seq != asked.seq() {
            return Ok(Some(reply));
        }
        // More values than were asked for, or an answer to another request, is a violation.
        let left = asked.left.checked_sub(items).filter(|_| seq == asked.seq()).ok_or(ProtocolViolation)?;
        let asked = Asked { left, elapsed: asked.elapsed + if last { elapsed } else { 0 }, ..asked };
        self.workers[worker].asked = Some(asked);
        let body = self.lane(worker).expect("it has just spoken").take(reply.body);
        match asked.moment {
            Moment::Start(number) => {
                let answer = (items > 0).then_some((failed, body));
                self.started(worker, number, answer, last.then_some(asked.elapsed));
            }
            Moment::End => {
                if let Some(finalizer) = self.own_calls.finalizer.as_ref().filter(|_| items > 0) {
                    let outcome = finalizer.outcome(failed, &body);
                    self.finalized(self.process(worker), outcome);
                }
                if last {
                    self.workers[worker].asked = None;
                }
            }
        }
        Ok(None)
    }

    /// The worker has answered to a call before it is ready, and with `elapsed`, the time of all of them, has ended it.
    fn started(&mut self, worker: WorkerId, number: usize, answer: Option<(bool, Bytes)>, elapsed: Option<Nanos>) {
        // It is being killed, and an answer that was on its way must not make it ready.
        if self.workers[worker].refused.is_some() {
            return;
        }
        // The end of a reply comes in a record of its own, without a value.
        let outcome = match (self.own_calls.start.get(number), answer) {
            (Some(call), Some((failed, body))) => call.outcome(failed, &body),
            _ => Ok(()),
        };
        if let Err(message) = outcome {
            // A worker that dies before it is ready counts as one that could not be started.
            self.refuse(worker, message);
            // At once: further calls would be made by a worker that lacks something.
            self.kill(worker);
            return;
        }
        let Some(elapsed) = elapsed else { return };
        let next = number + 1;
        // A worker that was told to leave meanwhile reads that next.
        if next < self.own_calls.start.len() && self.scheduler.is_starting(worker) {
            let (header, args, asked) = self.ask_to_start(next, elapsed);
            self.workers[worker].asked = Some(asked);
            let attachments = Arc::clone(&self.own_calls.start[next].attachments);
            let forgotten = self.forgotten.clone();
            if let Some(lane) = self.lane(worker) {
                lane.attach(&attachments, forgotten.as_ref());
                lane.send_cut(header, args);
            }
            // The worker may sleep by now, and nothing else will wake it.
            self.touched = true;
            self.scheduler.starts_call(worker, self.own_calls.start[next].timeout);
        } else {
            self.workers[worker].asked = None;
            let now = monotonic_ns();
            self.observer.ready(worker, elapsed, now);
            if self.is_logged() {
                let process = self.process(worker);
                self.observer.logs.push(&Record::Ready { process, initializing: elapsed, at: now });
            }
            self.scheduler.ready(worker);
        }
    }

    /// The worker is about to be killed before it was ready, for this reason.
    pub(super) fn refuse(&mut self, worker: WorkerId, why: String) {
        self.cause = Some(Error::new(ErrorKind::Broken, why.clone()));
        self.workers[worker].refused = Some(why);
    }

    /// The state that the worker was opening when it died, as part of a sentence.
    pub(super) fn start_place(&self, worker: WorkerId) -> String {
        match self.workers[worker].asked {
            Some(Asked { moment: Moment::Start(number), .. }) => match self.own_calls.start.get(number) {
                Some(call) if call.role == STATE => format!(", at the state `{}`", call.name),
                _ => String::new(),
            },
            _ => String::new(),
        }
    }

    /// The call that the worker makes before it is ready, and a problem with it.
    pub(super) fn start_fault(&self, worker: WorkerId, problem: &str) -> Option<String> {
        let Asked { moment: Moment::Start(number), .. } = self.workers[worker].asked? else { return None };
        Some(self.own_calls.start.get(number)?.fault(problem))
    }

    /// Whether the worker's word about a running item, with this number of its request, is about the present call.
    pub(super) fn is_at_own(&self, worker: WorkerId, seq: u32) -> bool {
        self.workers[worker].asked.is_none_or(|asked| !asked.is_start() || asked.seq() == seq)
    }

    /// The last request to a worker that leaves in peace. It has a finalizer if it has been ready.
    pub(super) fn ask_to_leave(&mut self, worker: WorkerId) -> (Header, Cut) {
        // A worker that was never ready has nothing to finalize, and may lack states.
        let plain = Header { kind: Request::Quit.kind(), ..Header::default() };
        let Some(finalizer) = self.own_calls.finalizer.as_ref().filter(|_| self.workers[worker].asked.is_none()) else {
            return (plain, Cut::default());
        };
        let asked = Asked { moment: Moment::End, left: 1, elapsed: 0 };
        self.workers[worker].asked = Some(asked);
        if let Some(lane) = self.workers[worker].lane.as_mut() {
            lane.attach(&finalizer.attachments, self.forgotten.as_ref());
        }
        (finalizer.request(Request::Quit, asked.seq()), finalizer.args.clone())
    }

    /// The worker is gone: a finalizer that has not answered has failed, and a state may have failed to be dropped.
    pub(super) fn end_own(&mut self, worker: WorkerId, death: &Death) {
        // Its lane is gone by now, so the note of its death has the number.
        let process = Process { pid: death.pid, ..self.process(worker) };
        if let Some(Asked { moment: Moment::End, left: 1, .. }) = self.workers[worker].asked
            && let Some(finalizer) = &self.own_calls.finalizer
        {
            let problem = match self.scheduler.exit_reason(worker, death.status.success()) {
                ExitReason::Stayed { limit, ran } => exceeded(limit, ran, self.in_process),
                _ => format!("did not end: {}", Error::of_death(death, self.memory_limit)),
            };
            let outcome = Err(finalizer.fault(&problem));
            self.finalized(process, outcome);
        }
        if let Some(LastWords::State(why)) = death.words.as_deref()
            && death.status.success()
        {
            self.finalized(process, Err(why.clone()));
        }
        self.workers[worker].asked = None;
    }

    /// The finalizer of this process has ended. Its failure fails no job, and is told all the same.
    fn finalized(&mut self, process: Process, outcome: Result<(), String>) {
        let Err(mut why) = outcome else { return };
        // Each record of it is kept for a while, and an error may be of any length.
        why.truncate(why.floor_char_boundary(FAULT_BYTES_MAX));
        if self.is_logged() {
            let why = why.clone().into();
            self.observer.logs.push(&Record::NotFinalized { process, why, at: monotonic_ns() });
        }
        self.observer.not_finalized(why);
    }
}

/// Bytes of the text that tells of a failed finalizer.
const FAULT_BYTES_MAX: usize = 4 << 10;
