//! An array that workers write, part by part, while its owner waits.
//!
//! All that refers to the array in the host holds the [`Loan`]: the arguments of items that are not settled, and the requests
//! that a worker has not answered whole. A request is dropped when its last reply has come, which the worker sends after its last
//! part, or when the worker's process is gone. So when the loan is dropped, nobody writes any more. The one exception is a worker
//! that the pool has no right to kill and has given up: then the array gets other memory.
//!
//! A worker keeps the parts mapped that it has written, for the next loan of the same array, as long as it runs nothing but parts
//! of arrays. It unmaps them before it runs any other code of the user's, and when the owner drops or freezes the array.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::id::ArrayId;
use super::presence::Presence;

/// An array that has been lent before: its workers know it under this name. They forget it when this is dropped.
#[derive(Debug)]
pub(crate) struct Known(Arc<Presence>);

impl Known {
    pub(crate) fn new() -> Known {
        Known(Arc::new(Presence::new(ArrayId::new())))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // Without memory: the host's mapping is the owner's, which drops it or seals it itself.
        self.0.end(None);
    }
}

#[derive(Debug)]
pub(crate) struct Loan {
    presence: Arc<Presence>,
    /// Gone only while it is dropped.
    fd: Option<Arc<OwnedFd>>,
    returned: Arc<Returned>,
}

/// Tells when the loan is over.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    may_be_written: bool,
}

impl Loan {
    pub(crate) fn new(known: &Known, fd: Arc<OwnedFd>) -> (Arc<Loan>, Arc<Returned>) {
        let returned = Arc::new(Returned::default());
        let loan = Loan { presence: Arc::clone(&known.0), fd: Some(fd), returned: Arc::clone(&returned) };
        (Arc::new(loan), returned)
    }

    pub(crate) fn id(&self) -> ArrayId {
        self.presence.id()
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// A worker that is at a part of the array is given up, and may live on: the pool has no right to kill it.
    pub(crate) fn give_up_writer(&self) {
        self.returned.state().may_be_written = true;
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it stays until the loan is dropped").as_fd()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Before the owner goes on: it may give the array away, and its descriptor must be nobody else's then.
        self.fd = None;
        // Under the lock, so that the owner cannot look just before and sleep just behind it.
        self.returned.state().is_over = true;
        self.returned.changed.notify_all();
    }
}

impl Returned {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody has the array any more. True if its memory may still be written, by a worker that was given up.
    pub(crate) fn wait(&self) -> bool {
        let state = self.changed.wait_while(self.state(), |state| !state.is_over);
        state.unwrap_or_else(PoisonError::into_inner).may_be_written
    }
}
