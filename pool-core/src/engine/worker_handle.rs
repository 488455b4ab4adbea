//! A worker as the host sees it: its lane, and the state of its process.

use crate::lane::Lane;

#[derive(Debug, Default)]
pub(super) struct WorkerHandle {
    pub(super) lane: Option<Lane>,
    pub(super) incarnations: u32,
    /// Values that the initializer's request has still to bring; `None` once it has been answered whole.
    pub(super) starting: Option<u32>,
    /// The initializer has failed or took too long; the process is being killed.
    pub(super) refused: bool,
}

impl WorkerHandle {
    /// Whether the worker has something to answer. Other workers are not looked at, so that a call costs the same in a
    /// pool of many workers.
    #[inline]
    pub(super) fn expects_replies(&self) -> bool {
        self.starting.is_some() || self.lane.as_ref().is_some_and(Lane::expects_replies)
    }

    /// Whether the worker has stayed silent while it had no request. A thread that a task left behind may write over
    /// the rings; then nothing further from there is believed.
    #[inline]
    pub(super) fn is_silent(&mut self) -> bool {
        let expects_replies = self.expects_replies();
        let Some(lane) = &mut self.lane else { return true };
        // Asked before a request goes out: from then on a reply may be honest.
        lane.is_corrupt |= !expects_replies && lane.has_news();
        !lane.is_corrupt
    }
}
