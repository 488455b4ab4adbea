//! What the host keeps of a worker.

use std::process::ExitStatus;
use std::sync::Arc;

use crate::lane::Lane;
use crate::lane::messages::LastWords;
use crate::units::Nanos;

#[derive(Debug, Default)]
pub(super) struct WorkerHandle {
    pub(super) lane: Option<Lane>,
    pub(super) incarnations: u32,
    /// The initializer's call has not been answered whole; values that are still to come of it.
    pub(super) starting: Option<u32>,
    /// It had failed or took too long; the process is being killed.
    pub(super) refused: bool,
    /// How the process before ended, while its end is being settled.
    pub(super) death: Option<Death>,
}

#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) pid: u32,
    pub(super) status: ExitStatus,
    /// The cause, where the status does not tell it.
    pub(super) cause: Option<Arc<str>>,
    pub(super) words: Option<Arc<LastWords>>,
    /// The sender of the SIGKILL that ended it, if one did; for people.
    pub(super) killer: Option<&'static str>,
    /// When it began the item that it was at, if that has a time limit, on the monotonic clock.
    pub(super) since: Option<Nanos>,
}

impl WorkerHandle {
    /// Whether the worker has something to answer. One that has not is not looked at until it is sent something, so that a
    /// call costs the same in a pool of many workers.
    #[inline]
    pub(super) fn expects_replies(&self) -> bool {
        self.starting.is_some() || self.lane.as_ref().is_some_and(Lane::expects_replies)
    }

    /// Whether the worker has said nothing that it was not asked: a thread that a task left behind may have written over the
    /// rings. If it has, nothing further from there is believed.
    #[inline]
    pub(super) fn is_silent(&mut self) -> bool {
        let expects_replies = self.expects_replies();
        let Some(lane) = &mut self.lane else { return true };
        lane.is_corrupt |= !expects_replies && lane.has_news();
        !lane.is_corrupt
    }
}
