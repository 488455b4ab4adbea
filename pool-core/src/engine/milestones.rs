//! States of the whole pool that threads wait for: noticed under the lock, before it is released.

use std::thread::Thread;

use super::Engine;
use super::watchers::{Milestone, WatcherId};
use crate::error::{Error, ErrorKind};
use crate::job::waiters::Waiter;
use crate::scheduler::State;

impl Engine {
    /// Has the thread woken when the state is there; `None` if it is there already.
    pub(crate) fn watch(&mut self, milestone: Milestone, thread: Thread) -> Option<WatcherId> {
        (!self.is_reached(milestone)).then(|| self.watchers.add(milestone, thread))
    }

    /// Whether the thread waits still, since the state has not been there yet.
    pub(crate) fn is_watching(&self, id: WatcherId) -> bool {
        self.watchers.contains(id)
    }

    /// The thread waits no longer.
    pub(crate) fn unwatch(&mut self, id: WatcherId) {
        self.watchers.remove(id);
    }

    /// Takes out the threads whose state is there, to be woken.
    pub(super) fn notify_watchers(&mut self) {
        let reached = [Milestone::Idle, Milestone::Started].map(|one| self.is_reached(one).then_some(one));
        self.accounts.deferred.woken.extend(self.watchers.take(reached).map(Waiter::Thread));
    }

    fn is_reached(&self, milestone: Milestone) -> bool {
        match milestone {
            Milestone::Idle => self.scheduler.is_idle(),
            Milestone::Started => self.started_workers().0 == self.workers() || self.state() != State::Open,
        }
    }

    /// How many workers have passed their initializer, and how many there should be.
    fn started_workers(&self) -> (usize, usize) {
        (self.scheduler.started_workers(), self.workers())
    }

    /// Whether all workers have passed their initializer; `after` says in an error how long that was waited for.
    ///
    /// # Errors
    ///
    /// `Closed` or `Broken` if some never will, `Timeout` if some have not yet.
    pub(crate) fn check_started(&self, after: &str) -> Result<(), Error> {
        let (started, all) = self.started_workers();
        if started == all {
            return Ok(());
        }
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
