//! A reply of a worker, and where its body is.

use pool_ipc::Record;

/// A complete reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) seq: u32,
    pub(crate) items: u32,
    pub(crate) failed: bool,
    pub(crate) last: bool,
    pub(crate) over_rss: bool,
    /// The body is the only value's own bytes, without a frame.
    pub(crate) raw: bool,
    /// It holds reports.
    pub(crate) reports: bool,
    /// The body ends with the times of the only item.
    pub(crate) timed: bool,
    pub(crate) elapsed: u64,
    /// Values of the request that were `Err`, by the worker's word; in a last reply.
    pub(crate) errs: u32,
    /// When the worker ended the request, in units of [`reply::ended`](crate::lane::messages::reply::ended); in a last reply.
    pub(crate) ended: u32,
    pub(crate) body: Body,
}

/// The place of a reply's body.
#[derive(Debug)]
#[must_use = "a record stays in the ring until it is taken"]
pub(crate) enum Body {
    /// It came in several records and was copied.
    Gathered(Vec<u8>),
    /// It is still in its record.
    InRing(Record),
}
