//! Threads that wait for a state of the whole pool: that it is idle, that its workers are ready, or that items were settled.
//!
//! A watcher is taken out of the list when its state is there, by the thread that brings that about, and woken when the
//! lock is free. So a state that lasts for a moment only is not missed.

use std::thread::Thread;

use super::Engine;
use super::watch_list::{Milestone, WatcherId};
use crate::error::{Error, ErrorKind};
use crate::job::waiters::Waiter;
use crate::scheduler::State;

impl Engine {
    /// Has the thread woken when the state is there; `None` if it is there already.
    pub(crate) fn watch(&mut self, milestone: Milestone, thread: Thread) -> Option<WatcherId> {
        // Asked under the lock that all changes take, so the state cannot come between this and the entry.
        if self.is_reached(milestone) {
            return None;
        }
        let id = WatcherId(self.watchers.next);
        self.watchers.next += 1;
        self.watchers.list.push((id, milestone, thread));
        Some(id)
    }

    /// Whether the thread waits still, since the state has not been there yet.
    pub(crate) fn is_watching(&self, id: WatcherId) -> bool {
        self.watchers.list.iter().any(|watcher| watcher.0 == id)
    }

    /// The thread waits no longer.
    pub(crate) fn unwatch(&mut self, id: WatcherId) {
        self.watchers.list.retain(|watcher| watcher.0 != id);
    }

    /// Takes out the threads that wait for a state that has come, to be woken.
    pub(super) fn notify_watchers(&mut self) {
        // Asked once for each state and not for each thread: many may wait for the same.
        let reached = [Milestone::Idle, Milestone::Started, Milestone::Settled]
            .map(|milestone| self.is_reached(milestone).then_some(milestone));
        let is_over = |watcher: &mut (WatcherId, Milestone, Thread)| reached.contains(&Some(watcher.1));
        let woken = self.watchers.list.extract_if(.., is_over);
        self.accounts.deferred.woken.extend(woken.map(|(_, _, thread)| Waiter::Thread(thread)));
    }

    fn is_reached(&self, milestone: Milestone) -> bool {
        match milestone {
            Milestone::Idle => self.scheduler.is_idle(),
            // Set by every settlement since the lock was taken, and taken when it is released: so no settlement is
            // missed.
            Milestone::Settled => self.accounts.deferred.notices.progress,
            Milestone::Started => self.started_workers().0 == self.workers() || self.state() != State::Open,
        }
    }

    /// How many workers have passed their initializer, and how many there should be.
    fn started_workers(&self) -> (usize, usize) {
        (self.scheduler.started_workers(), self.workers())
    }

    /// Whether all workers have passed their initializer. `after` is the end of the error's text, and tells how long
    /// the wait was.
    ///
    /// # Errors
    ///
    /// `Closed` or `Broken` if some never will, `Timeout` if some have not yet.
    pub(crate) fn check_started(&self, after: &str) -> Result<(), Error> {
        let (started, all) = self.started_workers();
        if started == all {
            return Ok(());
        }
        // A pool that has ended says so: waiting longer would not help.
        self.check_open()?;
        let mut text = format!("{started} of {all} workers are ready{after}");
        if let Some(cause) = &self.cause {
            text = format!("{text}; the latest failure: {cause}");
        }
        let error = Error::new(ErrorKind::Timeout, text);
        Err(match &self.cause {
            Some(cause) => error.with_source(cause.duplicate()),
            None => error,
        })
    }
}
