//! The file descriptors by which a worker opens shared memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Descriptors of the two memory objects of a lane or a hub (close-on-exec).
///
/// They can be closed once the worker has opened the memory.
#[derive(Debug)]
pub struct Descriptors {
    /// The object that only the host writes, sealed against any further writable mapping.
    pub host: OwnedFd,
    /// The object that the worker writes; in a hub, all workers write it.
    pub worker: OwnedFd,
}

impl Descriptors {
    /// Both descriptors, to be sent to another process.
    pub fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.host.as_fd(), self.worker.as_fd()]
    }

    /// Takes two descriptors in the order of [`as_fds`](Descriptors::as_fds); `None` if one is missing.
    pub fn from_fds(mut fds: impl Iterator<Item = OwnedFd>) -> Option<Descriptors> {
        Some(Descriptors { host: fds.next()?, worker: fds.next()? })
    }
}
