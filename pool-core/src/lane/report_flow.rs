//! The last order about the reports of a worker.

use pool_ipc::Flow;

/// The last order about reports, and how the worker keeps to it.
#[derive(Debug)]
pub(super) struct ReportFlow {
    pub(super) seq: u32,
    pub(super) order: Flow,
    /// How often reports have been taken.
    pub(super) round: u32,
    /// Bytes of the ring that reports have taken since the worker was told to hold them back.
    pub(super) held_bytes: usize,
}

impl Default for ReportFlow {
    fn default() -> Self {
        ReportFlow { seq: 0, order: Flow::Go, round: 0, held_bytes: 0 }
    }
}
