//! Whether the items of a request may report, and have.

/// How far the items of a request may report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reporting {
    Off,
    On,
    /// Reports have been sent, which the host must have taken before the request ends.
    Used,
    /// The request is given up: it ends without a reply.
    GivenUp,
}
