//! Reports of panics in a worker, for the host.
//!
//! The panic hook runs first and knows message and place; `catch_unwind` later returns only the payload. This file finds the
//! panic of the hook to which a payload belongs: the task may have caught other panics, and may pass on one of another
//! thread, or a payload that is no panic's. If the process aborts before that (`panic = "abort"`, a panic while panicking),
//! the last words in the lane tell the host.

use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, Once, PoisonError};

use pool_ipc::sys::monotonic_ns;
use serde::{Deserialize, Serialize};

use crate::process::memory_limit::beyond_limit;
use crate::process::standing;

/// The report of a panic, made by the hook.
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

/// Panics of other threads, which the task may pass on.
static OF_THREADS: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// The most panics that are kept, of the task's thread and of all others each.
const SEEN_MAX: usize = 16;

/// Keeps the reports of panics for [`caught`], and calls `keep` with each at once. Panics of this thread are not printed, those
/// of others are.
pub(crate) fn report_panics_of_this_thread(keep: impl Fn(&PanicReport) + Send + Sync + 'static) {
    RUNS_TASK.set(true);
    set_hook(runs_task, keep);
}

/// Keeps the reports of panics in workers that are threads, which are not printed, and those of all other threads.
pub(crate) fn report_panics_of_threads() {
    static HOOK: Once = Once::new();
    // Once for all pools: the hook is the host's, and each further one would call all before it.
    HOOK.call_once(|| {
        // In a thread that panics, the hook cannot be changed.
        if !std::thread::panicking() {
            set_hook(standing::is_thread, |_| ());
        }
    });
}

fn set_hook(is_tasks: fn() -> bool, keep: impl Fn(&PanicReport) + Send + Sync + 'static) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let seen = Seen::new(info);
        if is_tasks() {
            keep(&seen.report);
            let _ = OF_TASK.try_with(|all| remember(&mut all.borrow_mut(), seen));
        } else {
            let mut all = OF_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
            keep(&seen.report);
            remember(&mut all, seen);
            drop(all);
            print(info);
        }
    }));
}

/// This thread runs no task any more.
pub(crate) fn stop_reporting() {
    RUNS_TASK.set(false);
}

/// True in the thread that runs tasks. Async-signal-safe.
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
    /// Captured without the names of functions, because looking these up takes long.
    backtrace: Backtrace,
    /// Time of the panic on the monotonic clock.
    at_ns: u64,
}

impl Seen {
    fn new(info: &PanicHookInfo<'_>) -> Self {
        let report = PanicReport {
            message: message(info.payload()),
            location: info.location().map(ToString::to_string),
            backtrace: None,
        };
        Seen { payload: Identity::of(info.payload()), report, backtrace: Backtrace::capture(), at_ns: monotonic_ns() }
    }

    /// True if this payload, with the text `message`, may be this panic's.
    fn is_of(&self, payload: Identity, message: &str) -> bool {
        // The text is compared, too, since an address may have been used again.
        self.payload == payload && self.report.message == message
    }
}

/// The properties of a payload that are the same in the hook and when it is caught. `std` moves it into a box in between, but
/// the bytes of a text stay at their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    kind: TypeId,
    text: Option<(usize, usize)>,
    /// No other live payload has the same identity.
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
    /// `None` if the hook has not seen it, for instance because the task has replaced the hook. Then only the payload is known.
    seen: Option<Seen>,
}

impl Caught {
    /// The report. Takes long if there is a backtrace, since the names of its functions are looked up.
    pub(crate) fn into_report(self) -> PanicReport {
        let Caught { message, seen } = self;
        let Some(Seen { report, backtrace, .. }) = seen else {
            return PanicReport { message, ..PanicReport::default() };
        };
        let is_there = backtrace.status() == BacktraceStatus::Captured;
        PanicReport { backtrace: is_there.then(|| beyond_limit(|| backtrace.to_string())), ..report }
    }
}

/// The panic that was caught with this payload. Drops the payload. `since_ns` is the start of the request.
pub(crate) fn caught(payload: Box<dyn Any + Send>, since_ns: u64) -> Caught {
    let message = message(&*payload);
    let caught = Caught { seen: find(&*payload, &message, since_ns), message };
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // The payload's destructor has panicked, too. The new payload is not dropped, since it could panic again.
        std::mem::forget(again);
    }
    OF_TASK.take();
    caught
}

/// Finds the panic of this payload among those that the hook has seen.
fn find(payload: &(dyn Any + Send), message: &str, since_ns: u64) -> Option<Seen> {
    let payload = Identity::of(payload);
    let mut of_task = OF_TASK.take();
    let mut of_threads = OF_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let newest = |all: &[Seen]| all.iter().rposition(|seen| seen.is_of(payload, message));
    // Where two panics may look alike, those of earlier requests do not count.
    let task = newest(&of_task).filter(|&at| payload.is_unique || of_task[at].at_ns >= since_ns);
    let thread = newest(&of_threads);
    let (Some(at_task), Some(at_thread)) = (task, thread) else {
        return task.map(|at| of_task.remove(at)).or_else(|| thread.map(|at| of_threads.remove(at)));
    };
    let is_older = of_threads[at_thread].at_ns < if payload.is_unique { of_task[at_task].at_ns } else { since_ns };
    if is_older || of_task[at_task].report.location == of_threads[at_thread].report.location {
        Some(of_task.remove(at_task))
    } else if payload.is_unique {
        Some(of_threads.remove(at_thread))
    } else {
        // For instance the same literal at two places: no place is better than the wrong one.
        None
    }
}
