//! Requests that are out, and such as wait for room in the ring.

use pool_ipc::{Header, Written};

use crate::codec::bytes::Cut;

/// A call that is out, or about to go.
#[derive(Debug)]
pub(super) struct SentRequest {
    pub(super) seq: u32,
    pub(super) quiet: bool,
    pub(super) silent: bool,
    pub(super) brief: bool,
    /// Where its limit can be lowered: only if it went out in one record.
    pub(super) record: Option<u64>,
    /// Where its arguments are, if they are in the arena: nobody else may have that before the worker is through.
    pub(super) segment: Option<Written>,
}

/// A call that goes when there is room.
#[derive(Debug)]
pub(super) struct OutgoingRequest {
    pub(super) header: Header,
    pub(super) body: Cut,
    pub(super) sent: usize,
}
