//! A reply of a worker, and where its body is.

use pool_ipc::Record;

/// A reply that has arrived whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) seq: u32,
    pub(crate) items: u32,
    pub(crate) failed: bool,
    pub(crate) last: bool,
    pub(crate) over_rss: bool,
    /// The body is the one value's own bytes.
    pub(crate) raw: bool,
    pub(crate) elapsed: u64,
    pub(crate) body: Body,
}

/// Where a reply's body is.
#[derive(Debug)]
#[must_use = "a record stays in the ring until it is taken"]
pub(crate) enum Body {
    /// It came in several records.
    Gathered(Vec<u8>),
    InRing(Record),
}
