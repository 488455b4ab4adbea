//! What a panic in a worker said, kept for the host.
//!
//! The hook runs first, with message and place at hand; `catch_unwind` later sees only the payload. Which of the panics
//! that the hook has seen this payload comes from is found out here: the task may have caught some, and may pass on one
//! of another thread, or a payload that never was a panic's. Should the process abort in between (`panic = "abort"`, a
//! panic while panicking), the note in the lane still tells the host.

use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use pool_ipc::sys::monotonic_ns;
use serde::{Deserialize, Serialize};

use crate::process::memory_limit::beyond_limit;

/// A panic as its hook saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    /// `file:line:column`.
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.location.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        write!(f, "panicked{at}: {}", self.message)
    }
}

thread_local! {
    /// This thread runs a task, so its panics travel to the host and are not printed.
    static RUNS_TASK: Cell<bool> = const { Cell::new(false) };
    static OF_TASK: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
}

/// Panics of the other threads, which the task may pass on.
static OF_THREADS: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// Panics that are remembered, of the task's thread and of all others.
const SEEN_MAX: usize = 16;

/// Makes panics of this thread leave their report for [`caught`]; `note` is also shown each at once. Panics of other
/// threads leave theirs, too, and are printed as ever.
pub(crate) fn report_panics_of_this_thread(note: impl Fn(&PanicReport) + Send + Sync + 'static) {
    RUNS_TASK.set(true);
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let seen = Seen::new(info);
        if runs_task() {
            note(&seen.report);
            let _ = OF_TASK.try_with(|all| remember(&mut all.borrow_mut(), seen));
        } else {
            let mut all = OF_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
            note(&seen.report);
            remember(&mut all, seen);
            drop(all);
            beyond_limit(|| print(info));
        }
    }));
}

/// Whether this thread is the one that runs tasks. Async-signal-safe.
pub(crate) fn runs_task() -> bool {
    RUNS_TASK.try_with(Cell::get).unwrap_or(false)
}

fn remember(all: &mut Vec<Seen>, seen: Seen) {
    if all.len() == SEEN_MAX {
        all.remove(0);
    }
    all.push(seen);
}

/// A panic that the hook has seen.
struct Seen {
    payload: Identity,
    report: PanicReport,
    /// Without the names of its functions yet: to look them up takes long.
    backtrace: Backtrace,
    /// On the monotonic clock.
    at: u64,
}

impl Seen {
    fn new(info: &PanicHookInfo<'_>) -> Self {
        let report = PanicReport {
            message: message(info.payload()),
            location: info.location().map(ToString::to_string),
            backtrace: None,
        };
        Seen { payload: Identity::of(info.payload()), report, backtrace: Backtrace::capture(), at: monotonic_ns() }
    }

    /// Whether this payload, whose text is `message`, may be this panic's.
    fn is_of(&self, payload: Identity, message: &str) -> bool {
        // An address may have been used again for another text.
        self.payload == payload && self.report.message == message
    }
}

/// What is known of a payload both in the hook and when it is caught. In between `std` moves it into a box, but the
/// bytes of a text stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    kind: TypeId,
    text: Option<(usize, usize)>,
    /// No other payload that lives has the same identity.
    is_unique: bool,
}

impl Identity {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let place = |text: &str| (text.as_ptr().addr(), text.len());
        let string = payload.downcast_ref::<String>();
        let text = string.map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let is_unique = string.is_some_and(|text| !text.is_empty());
        Identity { kind: payload.type_id(), text: text.map(place), is_unique }
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a value that is no text".to_owned(),
    }
}

/// A panic that has ended an item.
pub(crate) struct Caught {
    message: String,
    /// `None` if the hook has not seen it, or the task has put a hook of its own in place of ours. Then the payload is
    /// all there is.
    seen: Option<Seen>,
}

impl Caught {
    /// Takes long if there is a backtrace: the names of its functions are looked up.
    pub(crate) fn into_report(self) -> PanicReport {
        let Caught { message, seen } = self;
        let Some(Seen { report, backtrace, .. }) = seen else {
            return PanicReport { message, ..PanicReport::default() };
        };
        let is_there = backtrace.status() == BacktraceStatus::Captured;
        PanicReport { backtrace: is_there.then(|| beyond_limit(|| backtrace.to_string())), ..report }
    }
}

/// The panic that was caught with this payload, which is dropped here. The call that it ended began at the time `since`.
pub(crate) fn caught(payload: Box<dyn Any + Send>, since: u64) -> Caught {
    let message = message(&*payload);
    let caught = Caught { seen: find(&*payload, &message, since), message };
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // The payload's destructor has panicked, too. Its payload is not tried again.
        std::mem::forget(again);
    }
    OF_TASK.take();
    caught
}

/// The panic of this payload, out of those that the hook has seen.
fn find(payload: &(dyn Any + Send), message: &str, since: u64) -> Option<Seen> {
    let payload = Identity::of(payload);
    let mut of_task = OF_TASK.take();
    let mut of_threads = OF_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let newest = |all: &[Seen]| all.iter().rposition(|seen| seen.is_of(payload, message));
    // What the task has caught in an earlier call is no rival where two may look alike.
    let task = newest(&of_task).filter(|&at| payload.is_unique || of_task[at].at >= since);
    let thread = newest(&of_threads);
    let (Some(at_task), Some(at_thread)) = (task, thread) else {
        return task.map(|at| of_task.remove(at)).or_else(|| thread.map(|at| of_threads.remove(at)));
    };
    let is_older = of_threads[at_thread].at < if payload.is_unique { of_task[at_task].at } else { since };
    if is_older || of_task[at_task].report.location == of_threads[at_thread].report.location {
        Some(of_task.remove(at_task))
    } else if payload.is_unique {
        Some(of_threads.remove(at_thread))
    } else {
        // The same literal at two places, for instance: better no place than the wrong one.
        None
    }
}
