//! The accounts of settled items: counted at once, and told when the lock is free.

use crate::job::waiters::{Waiter, Waiters};
use crate::scheduler::WorkerId;
use crate::stats::Counts;

#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) counts: Counts,
    pub(super) deferred: Deferred,
}

/// The kind of outcome that items have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Value,
    Failure,
    /// Counts neither as succeeded nor as failed, like all items of a job that ends early.
    Cancelled,
}

impl Accounts {
    /// Accounts for items that have got their outcomes. All items that have one pass here, once.
    #[inline]
    pub(super) fn settle(&mut self, items: u32, outcome: Outcome) {
        self.deferred.notices.progress = true;
        // A cancelled item has neither succeeded nor failed; its waiter is woken all the same.
        if outcome != Outcome::Cancelled {
            self.counts.settled(items, outcome == Outcome::Value);
        }
    }

    /// Accounts for a job that ends, and has its waiters told.
    #[inline]
    pub(super) fn finish_job(&mut self, waiters: Option<Waiters>) {
        self.counts.finished();
        // Woken later: a thread that is woken under the lock runs into it at once.
        self.deferred.waiters.extend(waiters);
    }
}

/// Work that is to be done when the lock is free.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    pub(crate) waiters: Vec<Waiters>,
    /// Submissions that have got room, and threads whose state of the pool is there.
    pub(crate) woken: Vec<Waiter>,
    pub(crate) launches: Vec<WorkerId>,
    pub(crate) notices: Notices,
}

/// Threads of the host that are to be notified when the lock is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    /// Something was settled: the leader looks again.
    pub(crate) progress: bool,
    /// A call went out, and the router will not hear of its end at once.
    pub(crate) quiet: bool,
    /// The supervisor is to have a process killed.
    pub(crate) kills: bool,
    /// Threads that read records sleep, and there are some.
    pub(crate) logged: bool,
}

impl Deferred {
    /// Waiters and launches, if there are any. Apart from the notices, since most calls have none.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Deferred> {
        let is_empty = self.waiters.is_empty() && self.woken.is_empty() && self.launches.is_empty();
        (!is_empty).then(|| std::mem::take(self))
    }
}
