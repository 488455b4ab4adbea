//! An array that workers write, part by part, while its owner waits.
//!
//! All that refers to the array in the host holds the [`Loan`]: the arguments of items that are not settled, and the requests
//! that a worker has not answered whole. A request is dropped when its last reply has come, which the worker sends after it has
//! unmapped the last part, or when the worker's process is gone. So when the loan is dropped, nobody writes any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::id::ArrayId;

#[derive(Debug)]
pub(crate) struct Loan {
    id: ArrayId,
    fd: Arc<OwnedFd>,
    returned: Arc<Returned>,
}

/// Tells when the loan is over.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Loan {
    pub(crate) fn new(fd: Arc<OwnedFd>) -> (Arc<Loan>, Arc<Returned>) {
        let returned = Arc::new(Returned::default());
        (Arc::new(Loan { id: ArrayId::new(), fd, returned: Arc::clone(&returned) }), returned)
    }

    pub(crate) fn id(&self) -> ArrayId {
        self.id
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
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
