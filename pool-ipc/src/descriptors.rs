//! The descriptors of shared memory, on their way to a worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The two objects of memory that a lane or a hub consists of, by their descriptors (close-on-exec).
///
/// Nobody needs them any more when the memory has been opened.
#[derive(Debug)]
pub struct Descriptors {
    /// What the host alone can write: sealed against everybody who has no writable mapping yet.
    pub host: OwnedFd,
    /// What a worker writes, or, of a hub, all workers.
    pub worker: OwnedFd,
}

impl Descriptors {
    /// For sending them to another process.
    pub fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.host.as_fd(), self.worker.as_fd()]
    }

    /// Takes what was sent in the order of [`as_fds`](Descriptors::as_fds); `None` if something is missing.
    pub fn from_fds(mut fds: impl Iterator<Item = OwnedFd>) -> Option<Descriptors> {
        Some(Descriptors { host: fds.next()?, worker: fds.next()? })
    }
}
