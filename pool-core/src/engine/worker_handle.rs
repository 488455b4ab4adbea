//! A worker as the host sees it: its lane, and the state of its process.

use super::own_call::Asked;
use crate::lane::Lane;

#[derive(Debug, Default)]
pub(super) struct WorkerHandle {
    pub(super) lane: Option<Lane>,
    pub(super) incarnations: u32,
    /// The call of its own that it has not answered whole. A new process has one.
    pub(super) asked: Option<Asked>,
    /// Why the process is being killed before it was ready: a call of its own has failed or took too long.
    pub(super) refused: Option<String>,
}

impl WorkerHandle {
    /// The process is not ready for tasks yet.
    pub(super) fn is_starting(&self) -> bool {
        self.asked.is_some_and(Asked::is_start)
    }

    /// Whether the worker has something to answer. Other workers are not looked at, so that a call costs the same in a
    /// pool of many workers.
    #[inline]
    pub(super) fn expects_replies(&self) -> bool {
        self.asked.is_some() || self.lane.as_ref().is_some_and(Lane::expects_replies)
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
