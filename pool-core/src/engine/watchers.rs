//! Threads that wait for a state of the whole pool: that it is idle, or that its workers are ready.
//!
//! A watcher is taken out of the list when its state is there, by the thread that brings that about, and woken when the lock is
//! free. So a state that lasts for a moment only is not missed.

use std::thread::Thread;

/// The state that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// Nothing is pending.
    Idle,
    /// All workers have passed their initializer, or some never will.
    Started,
}

/// A thread in the list. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatcherId(u64);

#[derive(Debug, Default)]
pub(super) struct Watchers {
    list: Vec<(WatcherId, Milestone, Thread)>,
    next: u64,
}

impl Watchers {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn add(&mut self, milestone: Milestone, thread: Thread) -> WatcherId {
        let id = WatcherId(self.next);
        self.next += 1;
        self.list.push((id, milestone, thread));
        id
    }

    pub(super) fn contains(&self, id: WatcherId) -> bool {
        self.list.iter().any(|watcher| watcher.0 == id)
    }

    pub(super) fn remove(&mut self, id: WatcherId) {
        self.list.retain(|watcher| watcher.0 != id);
    }

    /// Takes out the threads that wait for one of these.
    pub(super) fn take(&mut self, reached: [Option<Milestone>; 2]) -> impl Iterator<Item = Thread> {
        let taken = self.list.extract_if(.., move |watcher| reached.contains(&Some(watcher.1)));
        taken.map(|(_, _, thread)| thread)
    }
}
