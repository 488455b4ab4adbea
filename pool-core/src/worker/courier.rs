//! The courier: a worker that runs no items, but hands them to another machine and waits for their outcomes.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::codec::frames;
use crate::error::{Error, ErrorKind};
use crate::lane::messages;
use crate::lane::parcels::Parcels;
use crate::process::panic;
use crate::process::standing;
use crate::task::form::Form;
use crate::task::table::Entry;
use crate::wire::{Array, Failure, Link, Outcome, Place, Reply, Request, Stop, TaskKey};
use crate::worker::chunk::{Chunk, Input};

/// The way that all couriers of a pool take.
pub(crate) struct Route {
    pub(crate) link: Arc<dyn Link>,
    /// The keys of the tasks by their places in the dispatch table.
    pub(crate) keys: Vec<Option<TaskKey>>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// One courier.
pub(super) struct Courier {
    route: Arc<Route>,
    parcels: Arc<Parcels>,
    /// Set when the host tells this thread to end.
    stop: Stop,
}

/// If none of the items has been run, they are sent again so often ...
const ROUNDS_MAX: u32 = 5;
/// ... after this pause, in which the machine that sent them back may leave.
const ROUND_PAUSE: Duration = Duration::from_millis(20);

impl Courier {
    pub(super) fn new(route: Arc<Route>, parcels: Arc<Parcels>, word: &Arc<standing::Stop>) -> Courier {
        Courier { route, parcels, stop: Stop::of(Arc::clone(word)) }
    }

    /// Has the items of the chunk run, and answers them.
    pub(super) fn run(&self, chunk: &mut Chunk<'_>, entry: &'static Entry, place: messages::Place) {
        let items = chunk.claim_all();
        let key = self.route.keys.get(entry.index() as usize).and_then(Option::as_ref);
        // Also of a request that was taken back, or its arrays would stay.
        let list = if chunk.names_arrays() { self.parcels.take(chunk.seq()) } else { Arc::default() };
        match (key, entry.form, Array::of_arguments(&list)) {
            (Some(key), Some(form), Some(arrays)) => {
                let bytes = chunk.input.rest;
                let arguments = chunk.raw.take().map_or(Input::Framed(bytes), Input::Raw);
                Errand { courier: self, chunk, key, form, arguments, arrays, place }.run(items);
            }
            // Refused before, by the methods that submit such items.
            _ => {
                let text = "its arguments name memory that workers write, which does not travel to another machine";
                fail_all(chunk, items, &Failure::new(ErrorKind::Unsupported, text));
            }
        }
        // The last answers may be incomplete: the host takes none of a worker that it has told to end.
        if self.stop.is_set() {
            chunk.give_up();
        }
    }
}

fn fail_all(chunk: &mut Chunk<'_>, items: u32, why: &Failure) {
    (0..items).for_each(|_| chunk.put_failure(why.clone()));
}

/// The way of one chunk.
struct Errand<'c, 'w> {
    courier: &'c Courier,
    chunk: &'c mut Chunk<'w>,
    key: &'c TaskKey,
    form: Form,
    arguments: Input<'w>,
    arrays: Vec<Array>,
    place: messages::Place,
}

impl Errand<'_, '_> {
    fn run(mut self, items: u32) {
        let mut ahead = VecDeque::from([Outcome::NotRun(items)]);
        let (mut rounds, mut ran, mut answered) = (0, Duration::ZERO, 0);
        while let Some(outcome) = ahead.pop_front() {
            match outcome {
                Outcome::NotRun(0) => {}
                Outcome::NotRun(items) => {
                    let is_vain = self.chunk.next == answered;
                    if !is_vain && ahead.is_empty() {
                        // The pool sends the rest again, perhaps by another courier.
                        return;
                    }
                    // A round that has run something shows that there are machines, so the count begins anew.
                    (rounds, answered) = (if is_vain { rounds } else { 0 }, self.chunk.next);
                    if rounds == ROUNDS_MAX {
                        let text = format!("{rounds} machines in a row have sent it back without running it");
                        fail_all(self.chunk, items, &Failure::new(ErrorKind::Unreachable, text));
                        continue;
                    }
                    if rounds > 0 {
                        thread::sleep(ROUND_PAUSE);
                    }
                    rounds += 1;
                    let reply = self.send(items);
                    if self.courier.stop.is_set() {
                        return;
                    }
                    // Without the time on the way: the pool makes chunks by it, and a slow network is no reason for short ones.
                    // Saturates, since it is another machine's word.
                    ran = ran.saturating_add(reply.ran);
                    self.chunk.date(ran);
                    // From the back, so that they come off the front in their order.
                    reply.outcomes.into_iter().rev().for_each(|outcome| ahead.push_front(outcome));
                }
                Outcome::Values { items, bytes } => {
                    if !self.put_values(items, &bytes) {
                        return;
                    }
                }
                Outcome::Raw(bytes) => self.chunk.put_raw(bytes),
                Outcome::Naming { bytes, arrays } => {
                    self.chunk.put_naming(bytes, &arrays, &self.arrays, &self.courier.parcels)
                }
                Outcome::Failed(failure) => self.chunk.put_failure(failure),
            }
        }
    }

    fn put_values(&mut self, items: u32, bytes: &[u8]) -> bool {
        let size = (self.form.output_size)();
        // They come from another machine, and are counted before they stand among values that nobody counts.
        if frames::length(bytes, items, size) == Some(bytes.len()) {
            return self.chunk.put_values(bytes, items, size);
        }
        let text = "the other machine sent bytes that are not so many values of the task";
        fail_all(self.chunk, items, &Failure::new(ErrorKind::Protocol, text));
        true
    }

    /// Has the next so many items run. Returns as many outcomes.
    fn send(&mut self, items: u32) -> Reply {
        let begin = Instant::now();
        // With the time that it took here: a link that fails at once must not pass for items that are done at once.
        let failed = |error: &Error| {
            let failure = Failure::of(error);
            Reply { outcomes: (0..items).map(|_| Outcome::Failed(failure.clone())).collect(), ran: begin.elapsed() }
        };
        let Some(request) = self.request(items) else {
            return failed(&Error::new(ErrorKind::Protocol, "the request does not hold its items"));
        };
        let Courier { route, stop, .. } = self.courier;
        // The link is another crate's code: a panic of it concerns these items, and the thread goes on.
        let reply = match catch_unwind(AssertUnwindSafe(|| route.link.run(&request, stop))) {
            Ok(reply) => reply,
            Err(payload) => {
                let report = panic::caught(payload, 0).into_report();
                Err(Error::new(ErrorKind::Unreachable, format!("the way to other machines {report}")))
            }
        };
        let reply = reply.unwrap_or_else(|error| failed(&error));
        let answered = reply.outcomes.iter().fold(0, |sum: u32, outcome| sum.saturating_add(outcome.items()));
        // One more or less, and items would get the values of others.
        if answered == items {
            return reply;
        }
        let text = format!("the other machine sent {answered} outcomes of {items} items");
        failed(&Error::new(ErrorKind::Protocol, text))
    }

    fn request(&self, items: u32) -> Option<Request> {
        let done = self.chunk.next;
        let body = match &self.arguments {
            Input::Raw(bytes) => bytes.clone(),
            Input::Framed(bytes) => {
                let size = (self.form.args_size)();
                let rest = &bytes[frames::length(bytes, done, size)?..];
                rest[..frames::length(rest, items, size)?].to_vec()
            }
        };
        let messages::Place { first, attempt, seed } = self.place;
        // Calls are told apart by a mark, which is no index.
        let first = (first < messages::Place::NO_ITEM).then(|| first + u64::from(done));
        Some(Request {
            task: self.key.clone(),
            items,
            is_raw: matches!(self.arguments, Input::Raw(_)),
            body,
            place: Place { first, attempt, seed },
            limits: self.chunk.limits(),
            priority: self.chunk.priority(),
            arrays: self.arrays.clone(),
        })
    }
}
