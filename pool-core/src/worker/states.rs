//! The states of a worker: values that its tasks share, one after the other, such as a connection to a database.
//!
//! They belong to the thread that runs the tasks, so they need not be `Send`, and are found by their type. A task takes a state
//! out for as long as it runs. If it panics with a `&mut`, the state may be half changed, so it is dropped and opened anew.

use std::any::{Any, TypeId, type_name};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::codec::decoder::Decoder;
use crate::process::exit;
use crate::process::panic;
use crate::process::signals;
use crate::process::standing;

/// Opens a state by its arguments, or says why it cannot.
pub(crate) type Open = fn(Decoder<'_>) -> Result<Box<dyn Any>, String>;

/// A state, and how to open it anew.
struct Held {
    of: TypeId,
    /// The name of its type, for errors.
    name: &'static str,
    /// `None` while a task has it.
    value: Option<Box<dyn Any>>,
    /// A task panicked while it could change it.
    is_lost: bool,
    args: Vec<u8>,
    open: Open,
    /// Nanoseconds that this may take, or 0.
    limit_ns: u64,
}

thread_local! {
    static STATES: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    /// Nanoseconds that the state may take that is being opened, or 0.
    static LIMIT_NS: Cell<u64> = const { Cell::new(0) };
}

/// The next state is opened within so many nanoseconds, or has no limit if they are 0.
pub(crate) fn expect(limit_ns: u64) {
    LIMIT_NS.set(limit_ns);
}

/// Keeps a state that has been opened.
pub(crate) fn keep(of: TypeId, name: &'static str, value: Box<dyn Any>, args: Vec<u8>, open: Open) {
    let held = Held { of, name, value: Some(value), is_lost: false, args, open, limit_ns: LIMIT_NS.get() };
    STATES.with_borrow_mut(|states| states.push(held));
}

/// Calls a task with the state of this type.
///
/// # Panics
///
/// If the worker has no such state, which the host has made sure of, or if it is in use.
pub fn with_state<S: 'static, R>(call: impl FnOnce(&S) -> R) -> R {
    let taken = Taken::<S>::new(false);
    call(taken.value())
}

/// The same for a task that may change it.
///
/// # Panics
///
/// As [`with_state`].
pub fn with_state_mut<S: 'static, R>(call: impl FnOnce(&mut S) -> R) -> R {
    let mut taken = Taken::<S>::new(true);
    call(taken.value_mut())
}

/// A state that a task has.
struct Taken<S: 'static> {
    value: Option<Box<S>>,
    may_change: bool,
}

impl<S: 'static> Taken<S> {
    fn new(may_change: bool) -> Self {
        // Taken out, and not borrowed: while it runs, a task may take other states, or ask for this one, which is said below.
        let value = STATES.with_borrow_mut(|states| {
            states.iter_mut().find(|held| held.of == TypeId::of::<S>()).and_then(|held| held.value.take())
        });
        let value = value.and_then(|value| value.downcast().ok());
        assert!(value.is_some(), "this worker has no state `{}`, or a task has it already", type_name::<S>());
        Taken { value, may_change }
    }

    fn value(&self) -> &S {
        self.value.as_ref().expect("it is there until it is given back")
    }

    fn value_mut(&mut self) -> &mut S {
        self.value.as_mut().expect("it is there until it is given back")
    }
}

impl<S: 'static> Drop for Taken<S> {
    fn drop(&mut self) {
        // Given back in a panic, too: its destructor may panic, and two panics at once end the process.
        let value = self.value.take();
        STATES.with_borrow_mut(|states| {
            let Some(held) = states.iter_mut().find(|held| held.of == TypeId::of::<S>()) else { return };
            held.value = value.map(|value| value as Box<dyn Any>);
            // Only of a `&mut`: through a shared reference it has changed as its own type allows.
            held.is_lost |= self.may_change && thread::panicking();
        });
    }
}

/// Ends a worker without its states: a process here, a thread when it looks.
fn end_worker() {
    if !standing::end_thread(exit::NO_STATE) {
        signals::exit_now(exit::NO_STATE)
    }
}

/// Opens lost states anew. If one cannot be opened the worker leaves, and its successor says why. If one cannot be dropped it leaves, too, and `say` keeps the reason.
#[cold]
pub(crate) fn reopen_lost(say: impl Fn(String)) {
    while let Some(mut held) = take_lost() {
        if let Some(why) = drop_value(held.name, held.value.take()) {
            say(why);
            return end_worker();
        }
        // From the arguments as they came: they may have been changed or consumed by the first opening.
        let open = || (held.open)(Decoder::new(&held.args));
        let opened = within(held.limit_ns, || catch_unwind(AssertUnwindSafe(open)));
        // The successor opens its states while the host listens, and counts failures in a row.
        let Ok(Ok(value)) = opened else { return end_worker() };
        held.value = Some(value);
        held.is_lost = false;
        STATES.with_borrow_mut(|states| states.push(held));
    }
}

fn take_lost() -> Option<Held> {
    STATES.with_borrow_mut(|states| {
        let at = states.iter().position(|held| held.is_lost)?;
        Some(states.remove(at))
    })
}

/// Runs `open`, and ends the process if it takes longer than so many nanoseconds: the host keeps the limits of items, and this
/// is none.
fn within<R>(limit_ns: u64, open: impl FnOnce() -> R) -> R {
    // No thread that nobody needs: a task may count on being alone in its process. A worker that is a thread cannot be ended.
    if limit_ns == 0 || standing::is_thread() {
        return open();
    }
    let (opened, waits) = channel::<()>();
    let watch = move || {
        if waits.recv_timeout(Duration::from_nanos(limit_ns)) == Err(RecvTimeoutError::Timeout) {
            signals::exit_now(exit::NO_STATE);
        }
    };
    // Without memory for a thread there is no watch, and the state opens all the same.
    let watch = thread::Builder::new().spawn(watch);
    let result = open();
    drop(opened);
    // Joined, so that the worker has one thread again.
    let _ = watch.map(thread::JoinHandle::join);
    result
}

/// Drops all states, the latest first: it may have been opened with the help of an earlier one. Returns the failure of the first
/// one that panics.
pub(crate) fn drop_all() -> Option<String> {
    let mut failure = None;
    while let Some(held) = STATES.with_borrow_mut(Vec::pop) {
        let why = drop_value(held.name, held.value);
        failure = failure.or(why);
    }
    failure
}

/// Runs the destructor of a state, code of the user's. Says how it failed if it panics, which must not keep others from being run.
fn drop_value(name: &str, value: Option<Box<dyn Any>>) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(value))).err()?;
    let report = panic::caught(payload, 0).into_report();
    let mut why = format!("dropping the state `{name}` {report}");
    // It has to fit into the last words.
    why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
    Some(why)
}

/// The most bytes of the sentence on a state that could not be dropped.
const WHY_BYTES_MAX: usize = 1024;
