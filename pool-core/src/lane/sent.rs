//! Requests that are out, and requests that wait for room in the ring.

use std::sync::Arc;

use pool_ipc::{Header, Written};

use crate::attachments::{Attachment, Attachments};
use crate::codec::bytes::Cut;

/// A request without a complete reply.
#[derive(Debug)]
pub(super) struct SentRequest {
    pub(super) seq: u32,
    pub(super) quiet: bool,
    pub(super) silent: bool,
    pub(super) brief: bool,
    /// Its items may report.
    pub(super) reports: bool,
    /// Position of its record, where its limit can be lowered; `None` if it took several.
    pub(super) record: Option<u64>,
    /// The segment of the arena that holds its arguments, which must not be used again before the reply is complete.
    pub(super) segment: Option<Written>,
    /// The arrays that its arguments name. One that is lent is not given back before the reply is complete.
    pub(super) attachments: Option<Arc<Attachments>>,
}

/// A request that waits for room in the ring.
#[derive(Debug)]
pub(super) struct OutgoingRequest {
    pub(super) header: Header,
    pub(super) body: Cut,
    pub(super) sent: usize,
    /// The array of a [`Request::Attach`](crate::lane::messages::Request::Attach), until its descriptor is in the socket.
    pub(super) attachment: Option<Attachment>,
}
