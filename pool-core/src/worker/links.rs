//! The descriptors by which a worker talks with its host, and the memory behind them.

use std::os::fd::OwnedFd;

use pool_ipc::{Descriptors, HubWorker, WorkerEnd};

use crate::process::socket::Socket;

/// Those of a process.
pub(crate) struct Links {
    pub(crate) lane: Descriptors,
    pub(crate) socket: Socket,
    pub(crate) hub: Descriptors,
    /// The pipe for spans and events.
    pub(crate) records: Option<OwnedFd>,
}

/// Maps the memory; `None` if it is none of a worker's.
pub(super) fn open(lane: Descriptors, hub: &Descriptors) -> Option<(WorkerEnd, HubWorker)> {
    let opened = (WorkerEnd::open(&lane), HubWorker::open(hub));
    // Closed at once: the mappings stay, and tasks and the programs that they start should find no descriptors of ours.
    drop(lane);
    Some((opened.0.ok()?, opened.1.ok()?))
}
