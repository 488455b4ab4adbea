//! The far side: items of another machine's pool, run in a pool here.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keys::key;
use super::names::Names;
use crate::attachments::Attachments;
use crate::caller::feed::encoded::{EncodedItems, EncodedMap};
use crate::codec::bytes::Bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::job::completion::Part;
use crate::observe::insights::WorkerInsights;
use crate::pool::Pool;
use crate::scheduler::JobSpec;
use crate::task::TaskOptions;
use crate::task::form::Form;
use crate::task::table::{Entry, tasks};
use crate::wire::{Array, Failure, HostWorker, Limits, Outcome, Reply, Request, Stop, TaskKey};

/// Runs requests of other machines in a pool of this one.
///
/// All options of the pool apply: its states, initializers, limits of memory and time, its sandbox. Options of a call other than its
/// time limit, grace and seed are the business of the pool that made it: that one has the item tried again, and in its order.
///
/// Its clones are the same; any number of threads may [`run`](Runner::run) at once. A runner does not keep its pool: when the pool is
/// closed or dropped, requests come back as [not run](Outcome::NotRun).
///
/// # Examples
///
/// A link without a network, to a second pool in the same program:
///
/// ```
/// use std::sync::Arc;
/// use pool_core::prelude::*;
/// use pool_core::remote::{Backend, Link, Reply, Request, Runner, Stop, TaskKey};
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// struct Beside { pool: Pool }
///
/// impl Link for Beside {
///     fn capacity(&self) -> usize { self.pool.workers() }
///     fn run(&self, request: &Request, stop: &Stop) -> pool_core::Result<Reply> {
///         Ok(Runner::new(&self.pool).run(request, stop))
///     }
/// }
///
/// #[derive(Debug)]
/// struct ToBeside;
///
/// impl Backend for ToBeside {
///     fn open(&self, _: &[TaskKey]) -> pool_core::Result<Arc<dyn Link>> {
///         Ok(Arc::new(Beside { pool: Pool::new(2)? }))
///     }
/// }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::builder().backend(ToBeside).build()?;
/// assert_eq!(pool.map(square::Task, 0..4)?, [0, 1, 4, 9]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Runner {
    host: Arc<Host>,
    tasks: Arc<BTreeMap<TaskKey, (&'static Entry, Form)>>,
    names: Arc<Names>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Time between two looks whether a request is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Items of a request; a pool sends no more than those of one of its blocks.
const ITEMS_MAX: u32 = 1 << 16;

/// Of a request that takes longer than this, items that have not begun are given back: other machines may be idle.
const GIVE_BACK_AFTER: Duration = Duration::from_millis(200);

impl Runner {
    /// A runner in this pool.
    pub fn new(pool: &Pool) -> Runner {
        // Two tasks of one key are copies of one function, and either will do.
        let known = |entry: &'static Entry| Some((key(entry)?, (entry, entry.form?)));
        Runner {
            host: Arc::clone(pool.host()),
            tasks: Arc::new(tasks().into_iter().filter_map(known).collect()),
            names: Arc::default(),
        }
    }

    /// The tasks that it can run.
    pub fn tasks(&self) -> Vec<TaskKey> {
        self.tasks.keys().cloned().collect()
    }

    /// The workers of the pool at this moment, for the pool that sends the requests.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::Pool;
    /// use pool_core::remote::Runner;
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// assert_eq!(Runner::new(&pool).workers().len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn workers(&self) -> Vec<HostWorker> {
        let told = |worker: WorkerInsights| HostWorker {
            worker: worker.worker as u32,
            pid: worker.pid,
            state: worker.state,
            since: worker.since,
            task: worker.task,
            item: worker.item.map(|item| item as u64),
            items: worker.items,
        };
        // The numbers of a moment: they travel, and are old when they arrive.
        self.host.insights().workers.into_iter().map(told).collect()
    }

    /// Runs the items and waits for them. When `stop` is set, items that have not ended are cancelled, with their grace, and it
    /// returns. If the items take much longer than those that travel together should, the later ones come back
    /// [not run](Outcome::NotRun), for other machines.
    ///
    /// A request that makes no sense, such as one of a task that this program does not have, is a failure of each item: the bytes come
    /// from another machine, and are checked.
    pub fn run(&self, request: &Request, stop: &Stop) -> Reply {
        let begin = Instant::now();
        // No pool sends so many, and an error for each would fill memory.
        if request.items > ITEMS_MAX {
            return Reply { outcomes: vec![Outcome::NotRun(request.items)], ran: Duration::ZERO };
        }
        let outcomes = self.outcomes(request, stop).unwrap_or_else(|error| match error.kind() {
            // This pool is over, and another machine may go on.
            ErrorKind::Closed | ErrorKind::Terminated => vec![Outcome::NotRun(request.items)],
            _ => (0..request.items).map(|_| Outcome::Failed(Failure::of(&error))).collect(),
        });
        Reply { outcomes, ran: begin.elapsed() }
    }

    fn outcomes(&self, request: &Request, stop: &Stop) -> Result<Vec<Outcome>> {
        let &(entry, form) = self.tasks.get(&request.task).ok_or_else(|| self.unknown(&request.task))?;
        let spec = self.spec(entry, request.limits)?;
        let items = EncodedItems { items: request.items, is_raw: request.is_raw, bytes: &request.body };
        let place = request.place;
        // Calls are strangers, and each stands at the index 0.
        let is_map = place.first.is_some();
        let most = if is_map { EncodedMap::group_items(request.items) } else { 1 };
        let task = (entry, (form.args_size)());
        // All bytes are checked before the first item runs.
        let groups = items.cut(task.1, most).ok_or_else(corrupt)?;
        let first = place.first.unwrap_or(0);
        // Indices of items would wrap.
        if first.checked_add(request.items.into()).is_none() {
            return Err(corrupt());
        }
        let arrays = request.arrays.iter().map(|array| self.names.attachment(array));
        let arrays = arrays.collect::<Result<Attachments>>()?;
        let submit = |groups| {
            EncodedMap::submit(&self.host, spec, task, groups, arrays.clone(), (first, place.attempt, place.seed))
        };
        let mut waiting =
            if is_map { vec![groups] } else { groups.into_iter().map(|call| vec![call]).collect() }.into_iter();
        // Two for each worker, so that none waits for this thread; the others can still be given back.
        let most = 2 * self.host.workers();
        let each = if is_map { request.items } else { 1 };
        let give_back_at = Instant::now() + GIVE_BACK_AFTER;
        let (mut maps, mut outcomes, mut is_stopped) = (VecDeque::new(), Vec::new(), false);
        loop {
            let is_long = is_stopped || Instant::now() >= give_back_at;
            // The first in any case: a request of which nothing runs would come back again and again.
            while maps.len() < most
                && (!is_long || maps.is_empty() && outcomes.is_empty())
                && let Some(groups) = waiting.next()
            {
                maps.push_back(submit(groups)?);
            }
            let Some(map) = maps.front_mut() else { break };
            if map.wait(Instant::now() + LOOK_EVERY) {
                let (parts, rest) = maps.pop_front().expect("it is the front").take();
                add_outcomes(parts, first..first + u64::from(each), rest.as_ref(), &mut outcomes);
            // Cancelled once; the wait goes on, for the grace of items that run.
            } else if stop.is_set() && !std::mem::replace(&mut is_stopped, true) {
                maps.iter_mut().for_each(EncodedMap::cancel);
            } else if is_long {
                maps.iter_mut().for_each(EncodedMap::give_back);
            }
        }
        add_missing(waiting.len() as u32 * each, None, &mut outcomes);
        Ok(outcomes)
    }

    fn spec(&self, entry: &'static Entry, limits: Limits) -> Result<JobSpec> {
        // Not tried again here: the pool that sends it counts the attempts.
        let options = TaskOptions {
            timeout: limits.timeout,
            grace: Some(limits.grace).filter(|grace| !grace.is_zero()),
            retries: Some(0),
            ..TaskOptions::NONE
        };
        self.host.spec(entry, &options)
    }

    fn unknown(&self, task: &TaskKey) -> Error {
        let why = match self.tasks.keys().any(|known| known.name == task.name) {
            true => {
                "has a task of this name with another signature: other types, another codec, or another version of pool-core"
            }
            false => "does not have this task",
        };
        Error::new(ErrorKind::Unsupported, format!("the program that was to run it {why}"))
    }
}

/// The error of bytes that are no items of the task.
fn corrupt() -> Error {
    Error::new(ErrorKind::Decode, "the request does not hold the items that it tells of")
}

/// Adds the outcomes of the items of these indices, of which `rest` is the reason why some have none.
fn add_outcomes(parts: Vec<Part>, indices: Range<u64>, rest: Option<&Error>, outcomes: &mut Vec<Outcome>) {
    let mut next = indices.start;
    for part in parts {
        let (first, items) = (part.first, part.items);
        add_missing(first.saturating_sub(next) as u32, rest, outcomes);
        add(outcome(part), outcomes);
        next = first + u64::from(items);
    }
    add_missing(indices.end.saturating_sub(next) as u32, rest, outcomes);
}

/// Adds items that have not been run.
fn add_missing(items: u32, rest: Option<&Error>, outcomes: &mut Vec<Outcome>) {
    match rest.map(Error::kind) {
        _ if items == 0 => {}
        // The request was stopped, or this pool is over.
        None | Some(ErrorKind::Cancelled | ErrorKind::Terminated) => outcomes.push(Outcome::NotRun(items)),
        Some(_) => {
            outcomes.extend(rest.iter().cycle().take(items as usize).map(|error| Outcome::Failed(Failure::of(error))))
        }
    }
}

fn add(outcome: Outcome, outcomes: &mut Vec<Outcome>) {
    match (outcomes.last_mut(), outcome) {
        // Values of several chunks stand one behind the other, as those of one do.
        (Some(Outcome::Values { items, bytes }), Outcome::Values { items: more, bytes: more_bytes }) => {
            *items += more;
            bytes.extend_from_slice(&more_bytes);
        }
        (_, outcome) => outcomes.push(outcome),
    }
}

fn outcome(part: Part) -> Outcome {
    match part.values {
        Err(error) => Outcome::Failed(failure(&error)),
        Ok(bytes) if bytes.received().is_some() => naming(bytes),
        Ok(bytes) if part.raw => Outcome::Raw(bytes.into_vec()),
        Ok(bytes) => Outcome::Values { items: part.items, bytes: bytes.into_vec() },
    }
}

/// The failure of an item. Arguments that cannot be decoded were mostly written by another version of the types.
fn failure(error: &Error) -> Failure {
    let failure = Failure::of(error);
    match error.kind() {
        // Types of one name and one size have the same signature.
        ErrorKind::Decode => failure.saying(|text| {
            format!(
                "{text} (the program that called has perhaps another version of this type than the one that runs the task: build both \
                 from the same sources)"
            )
        }),
        _ => failure,
    }
}

/// The outcome of an item with a value that names arrays.
fn naming(bytes: Bytes) -> Outcome {
    let received = bytes.received().map(Arc::clone);
    let arrays = received.iter().flat_map(|received| received.arrays.iter()).map(Array::of_result);
    match arrays.collect() {
        Ok(arrays) => Outcome::Naming { bytes: bytes.into_vec(), arrays },
        Err(why) => Outcome::Failed(Failure::new(ErrorKind::System, format!("an array of the result: {why}"))),
    }
}
