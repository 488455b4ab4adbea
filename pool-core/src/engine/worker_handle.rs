//! A worker as the host sees it: its lane, and the state of its process.

use std::process::ExitStatus;
use std::sync::Arc;

use crate::lane::Lane;
use crate::process::last_words::LastWords;
use crate::units::Nanos;

#[derive(Debug, Default)]
pub(super) struct WorkerHandle {
    pub(super) lane: Option<Lane>,
    pub(super) incarnations: u32,
    /// Values that the initializer's request has still to bring; `None` once it has been answered whole.
    pub(super) starting: Option<u32>,
    /// The initializer has failed or took too long; the process is being killed.
    pub(super) refused: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) pid: u32,
    pub(super) status: ExitStatus,
    /// The cause, where the status does not tell it.
    pub(super) cause: Option<Arc<str>>,
    pub(super) words: Option<Arc<LastWords>>,
    /// The sender of the SIGKILL that ended it, in words.
    pub(super) killer: Option<&'static str>,
    /// When it began its last item, on the monotonic clock; only of an item with a time limit.
    pub(super) since: Option<Nanos>,
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
