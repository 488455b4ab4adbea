//! An array that workers write, part by part, while its owner waits.
//!
//! All that refers to the array in the host holds the [`Loan`]: the arguments of items that are not settled, and the requests
//! that a worker has not answered whole. A request is dropped when its last reply has come, which the worker sends after its last
//! part, or when the worker's process is gone. So when the loan is dropped, nobody writes any more.
//!
//! A worker keeps the parts mapped that it has written, for the next loan of the same array, as long as it runs nothing but parts
//! of arrays. It unmaps them before it runs any other code of the user's, and when the owner drops or freezes the array.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

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
    is_over: Mutex<bool>,
    changed: Condvar,
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

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it stays until the loan is dropped").as_fd()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Before the owner goes on: it may give the array away, and its descriptor must be nobody else's then.
        self.fd = None;
        // Under the lock, so that the owner cannot look just before and sleep just behind it.
        *self.returned.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.returned.changed.notify_all();
    }
}

impl Returned {
    /// Waits until nobody has the array any more.
    pub(crate) fn wait(&self) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(is_over, |is_over| !*is_over).unwrap_or_else(PoisonError::into_inner));
    }
}
