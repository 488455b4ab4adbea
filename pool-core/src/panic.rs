//! What a panic in a worker said, kept for the host.
//!
//! The hook runs first, with message and place at hand; `catch_unwind` later sees only the payload. Should the process
//! abort in between (`panic = "abort"`, a panic while panicking), the note in the lane still tells the host.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use serde::{Deserialize, Serialize};

/// A panic as its hook saw it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    /// `file:line:column`.
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

thread_local! {
    /// This thread runs a task, so its panics travel to the host and are not printed.
    static RUNS_TASK: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// Makes panics of this thread leave their report for [`caught`]; `note` is also shown each at once.
/// Panics of other threads are printed as ever.
pub(crate) fn report_panics_of_this_thread(note: impl Fn(&PanicReport) + Send + Sync + 'static) {
    RUNS_TASK.set(true);
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !RUNS_TASK.try_with(Cell::get).unwrap_or(false) {
            return print(info);
        }
        let report = report(info);
        note(&report);
        LAST.set(Some(report));
    }));
}

fn report(info: &PanicHookInfo<'_>) -> PanicReport {
    let backtrace = Backtrace::capture();
    PanicReport {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a value that is no text".to_owned(),
    }
}

/// The report of a panic that was caught with this payload, which is dropped here.
pub(crate) fn caught(payload: Box<dyn Any + Send>) -> PanicReport {
    // A task may have set a hook of its own, in place of ours; then the payload is all there is.
    let report = LAST.take().unwrap_or_else(|| PanicReport { message: message(&*payload), ..PanicReport::default() });
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // The payload's destructor has panicked, too. Its payload is not tried again.
        std::mem::forget(again);
        LAST.take();
    }
    report
}
