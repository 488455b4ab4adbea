//! The way between serde's code for an array and the lists of the value that holds it.
//!
//! A `Serialize` implementation sees nothing but a serializer of any format. So an array is written as a newtype of the
//! name [`MARK`], which only the pool's own formats know: these open a scope for the thread, and the array adds itself there to
//! the attachments. Outside of a scope an array has no meaning, and is an error.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use pool_ipc::{ArrayBuffer, ArrayWindow};

use super::array::Array;
use super::attachment::{Attachment, Attachments, add};
use super::id::ArrayId;
use super::received::{Content, GivenMemory, Received, copy_of, io_error};
use super::table::{Entry, Table};

/// The newtype as which an array is written and read.
pub(crate) const MARK: &str = "pool_core::arrays::Array";

/// The direction in which a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// To a worker.
    Arguments,
    /// To the host.
    Results,
    /// To the host while the item runs, which no descriptor can do.
    Report,
    /// Nowhere: the value is written to be compared with the one that came.
    Rehearsal,
}

thread_local! {
    static WRITING: RefCell<Option<(Side, Attachments)>> = const { RefCell::new(None) };
    /// A format of the pool's is about to read an array.
    static READING: Cell<bool> = const { Cell::new(false) };
    /// A value that has been read is read again, for comparison.
    static REHEARSING: Cell<bool> = const { Cell::new(false) };
    /// The arrays of the result that is being decoded. Else those of the table are meant.
    static RECEIVED: RefCell<Option<Arc<Received>>> = const { RefCell::new(None) };
    /// Only the main thread of a worker has entries.
    static TABLE: RefCell<Table> = const { RefCell::new(Table::new()) };
    /// Why the system refused the array that could not be read last.
    static REFUSAL: Cell<Option<i32>> = const { Cell::new(None) };
}

// ---- writing -------------------------------------------------------------------------------------------------------

/// Lets arrays add themselves, until it is dropped.
pub(crate) struct Writing {
    // Kept, since code of the value may encode another value on the way.
    outer: Option<(Side, Attachments)>,
}

impl Writing {
    pub(crate) fn begin(side: Side) -> Writing {
        Writing { outer: WRITING.replace(Some((side, Attachments::new()))) }
    }

    /// The arrays that were written.
    pub(crate) fn finish(self) -> Attachments {
        WRITING.take().map(|(_, list)| list).unwrap_or_default()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(self.outer.take());
    }
}

/// The direction of the value that is being written.
///
/// # Errors
///
/// In words: there is none.
pub(crate) fn side() -> Result<Side, String> {
    let side = WRITING.with_borrow(|writing| writing.as_ref().map(|(side, _)| *side));
    side.ok_or_else(|| elsewhere("written"))
}

/// The reason why a report with an array is refused.
pub(crate) const IN_REPORT: &str = "a report cannot name a shared array: report its numbers, or return the array";

fn elsewhere(done: &str) -> String {
    format!("a shared array can be {done} only as an argument or a result of a task, or as a part of one")
}

/// Adds an array to those of the value.
pub(crate) fn attach(new: Attachment) {
    WRITING.with_borrow_mut(|writing| {
        if let Some((_, list)) = writing {
            add(list, new);
        }
    });
}

/// Adds a frozen array; the name under which it is to be written.
///
/// # Errors
///
/// In words: arrays have no meaning here, or this one cannot go there.
pub(crate) fn attach_frozen(array: &Arc<Array>) -> Result<ArrayId, String> {
    match side()? {
        // The bytes must be those that came.
        Side::Rehearsal => return Ok(array.alias()),
        // Reports are decoded after their item may have ended, and its arrays with it.
        Side::Report => return Err(IN_REPORT.to_owned()),
        Side::Results if !array.memory().is_sealed() => {
            return Err(
                "a mapped file cannot be a result, since the host cannot know that nobody writes it: return its \
                        path, or read it with `from_file`"
                    .to_owned(),
            );
        }
        Side::Arguments | Side::Results => attach(Attachment::Frozen(Arc::clone(array))),
    }
    Ok(array.id())
}

// ---- reading -------------------------------------------------------------------------------------------------------

/// Lets arrays be read, until it is dropped.
pub(crate) struct Reading {
    outer: bool,
}

impl Reading {
    pub(crate) fn begin() -> Reading {
        Reading { outer: READING.replace(true) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READING.set(self.outer);
    }
}

/// Values that are read are for comparison, until it is dropped.
pub(crate) struct Rehearsing {
    outer: bool,
}

impl Rehearsing {
    pub(crate) fn begin() -> Rehearsing {
        Rehearsing { outer: REHEARSING.replace(true) }
    }
}

impl Drop for Rehearsing {
    fn drop(&mut self) {
        REHEARSING.set(self.outer);
    }
}

/// Names are those of this result's arrays, until it is dropped.
pub(crate) struct Resolving {
    outer: Option<Arc<Received>>,
}

impl Resolving {
    pub(crate) fn begin(received: &Arc<Received>) -> Resolving {
        Resolving { outer: RECEIVED.replace(Some(Arc::clone(received))) }
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        RECEIVED.set(self.outer.take());
    }
}

fn not_given() -> String {
    "it names an array that this process was not given".to_owned()
}

fn refused(error: &io::Error) -> String {
    REFUSAL.set(error.raw_os_error());
    format!("an array could not be taken: {error}")
}

/// Says that the system has refused an array or a part of one.
pub(crate) fn refuse(error: pool_ipc::Error) -> String {
    refused(&io_error(error))
}

/// Why the system refused an array to this thread, once.
pub(crate) fn take_refusal() -> Option<i32> {
    REFUSAL.take()
}

fn check_reading() -> Result<(), String> {
    if READING.get() { Ok(()) } else { Err(elsewhere("read")) }
}

/// Looks the name up among the arrays of the result, or in the table.
fn look_up<R>(
    id: ArrayId,
    received: impl FnOnce(&Content, bool) -> Result<R, String>,
    given: impl FnOnce(&Entry) -> Result<R, String>,
) -> Result<R, String> {
    check_reading()?;
    // Cloned, since reading an array may end in user code that reads another result.
    let result = RECEIVED.with_borrow(Option::clone);
    if let Some(result) = result {
        // A worker may name whatever it likes; it gets no further than to its own arrays.
        let found = result.arrays.iter().find(|array| array.id == id).ok_or_else(not_given)?;
        return received(&found.content, result.is_copy || REHEARSING.get());
    }
    TABLE.with_borrow(|table| given(table.get(id).ok_or_else(not_given)?))
}

/// The frozen array of this name.
///
/// # Errors
///
/// In words: there is none here.
pub(crate) fn frozen(id: ArrayId) -> Result<Arc<Array>, String> {
    let received = |content: &Content, _| match content {
        Content::Frozen(array) => Ok(Arc::clone(array)),
        Content::Failed(error) => Err(refused(error)),
        Content::Given(_) => Err(not_given()),
    };
    look_up(id, received, |entry| match entry {
        Entry::Frozen(array) => Ok(Arc::clone(array)),
        Entry::Failed(error) => Err(refused(error)),
        Entry::Lent(_) => Err(not_given()),
    })
}

/// Memory of at least so many bytes that only this process has: given away by a worker, or a copy of the host's.
///
/// # Errors
///
/// In words: there is none here.
pub(crate) fn owned(id: ArrayId, bytes: usize) -> Result<ArrayBuffer, String> {
    let copy = |array: &Array| {
        let bytes = array.memory().bytes().get(..bytes).ok_or("it names elements past the end of the array")?;
        copy_of(bytes).map_err(|error| refused(&io_error(error)))
    };
    let received = |content: &Content, as_copy| match content {
        Content::Given(memory) => GivenMemory::take(memory, bytes, as_copy),
        Content::Frozen(array) => copy(array),
        Content::Failed(error) => Err(refused(error)),
    };
    look_up(id, received, |entry| match entry {
        Entry::Frozen(array) => copy(array),
        Entry::Failed(error) => Err(refused(error)),
        Entry::Lent(_) => Err(not_given()),
    })
}

/// The window on an array of which this worker may write a part.
///
/// # Errors
///
/// In words: there is none here.
pub(crate) fn lent(id: ArrayId) -> Result<Rc<RefCell<Option<ArrayWindow>>>, String> {
    look_up(
        id,
        |_, _| Err(not_given()),
        |entry| match entry {
            Entry::Lent(window) => Ok(Rc::clone(window)),
            Entry::Failed(error) => Err(refused(error)),
            Entry::Frozen(_) => Err(not_given()),
        },
    )
}

/// Changes the arrays that the host has given to this worker.
pub(crate) fn with_table<R>(body: impl FnOnce(&mut Table) -> R) -> R {
    TABLE.with_borrow_mut(body)
}
