//! The memory that a worker has in common with its host.

use pool_ipc::{Descriptors, HubWorker, WorkerEnd};

/// Maps it; `None` if it is no such memory.
pub(super) fn open(lane: Descriptors, hub: &Descriptors) -> Option<(WorkerEnd, HubWorker)> {
    let opened = (WorkerEnd::open(&lane), HubWorker::open(hub));
    // Closed at once: the mappings stay, and tasks and the programs that they start should find no descriptors of ours.
    drop(lane);
    Some((opened.0.ok()?, opened.1.ok()?))
}
