//! The origin of an outcome, for callers that ask for it.

use crate::units::Nanos;

/// The worker that an outcome came from, and the times of its item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) worker: Option<OriginWorker>,
    /// Attempts that the item has had.
    pub(crate) attempts: u32,
    /// From the moment in which the pool got the item to the beginning of its last attempt.
    pub(crate) waited_ns: Option<Nanos>,
    /// The time of its last attempt.
    pub(crate) ran_ns: Option<Nanos>,
}

/// The process of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginWorker {
    pub(crate) id: usize,
    pub(crate) incarnation: u32,
    pub(crate) pid: u32,
}
