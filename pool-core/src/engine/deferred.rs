//! Work that waits until the lock is free: waking threads and tasks, launches, kills.

use crate::job::waiters::{Waiter, Waiters};
use crate::scheduler::WorkerId;

/// Filled under the lock, carried out behind it.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    pub(crate) waiters: Vec<Waiters>,
    /// Submissions that have got room, and threads whose state of the pool is there.
    pub(crate) woken: Vec<Waiter>,
    pub(crate) launches: Vec<WorkerId>,
    /// Something was settled: the leader looks again.
    pub(crate) progress: bool,
    /// A call went out whose end the router will not hear of at once.
    pub(crate) quiet: bool,
    /// The supervisor is to have a process killed.
    pub(crate) kills: bool,
}

impl Deferred {
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Deferred> {
        let is_empty = self.waiters.is_empty()
            && self.woken.is_empty()
            && self.launches.is_empty()
            && !self.progress
            && !self.quiet
            && !self.kills;
        (!is_empty).then(|| std::mem::take(self))
    }
}
