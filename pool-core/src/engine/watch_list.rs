//! The list of threads that wait for a state of the whole pool.

use std::thread::Thread;

/// The state that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// Nothing is pending.
    Idle,
    /// All workers have passed their initializer, or some never will.
    Started,
    /// Items have been settled while the lock was held.
    Settled,
}

/// A thread in the list. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatcherId(pub(super) u64);

#[derive(Debug, Default)]
pub(super) struct Watchers {
    pub(super) list: Vec<(WatcherId, Milestone, Thread)>,
    pub(super) next: u64,
}

impl Watchers {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
