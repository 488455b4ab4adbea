//! Threads that wait for a state of the whole pool.

use std::thread;
use std::time::{Duration, Instant};

use super::Host;
use crate::engine::watch_list::{Milestone, WatcherId};
use crate::error::{Error, ErrorKind, Result};
use crate::units;

impl Host {
    /// Waits until nothing is pending; false if the deadline comes first, or in a copy of the host.
    pub(crate) fn wait_idle(&self, deadline: Option<Instant>) -> bool {
        self.wait_for(Milestone::Idle, deadline)
    }

    /// Waits until all workers have started.
    ///
    /// # Errors
    ///
    /// The reason why they have not.
    pub(crate) fn wait_started(&self, limit: Option<Duration>) -> Result<()> {
        // A limit too large for the clock means no limit.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let after = limit.map(|limit| format!(" after {}", units::time(limit))).unwrap_or_default();
        // Again and again, since a pool that grows has workers that are still to start.
        loop {
            let is_reached = self.wait_for(Milestone::Started, deadline);
            // The wait ends at once in a copy of the host, where nothing will ever start.
            self.check_owner()?;
            // The pool may have grown since then.
            let outcome = self.with(|engine| engine.check_started(&after));
            if outcome.as_ref().map_err(Error::kind) != Err(ErrorKind::Timeout) || !is_reached {
                return outcome;
            }
        }
    }

    /// Waits until `ready`, which is asked under the engine's lock, again after each settlement of items; or not at all
    /// in a copy of the host.
    pub(crate) fn wait_for_settlement(&self, ready: impl Fn() -> bool) {
        while self.check_owner().is_ok() {
            // Looked at and registered under one lock, so no settlement comes in between.
            let id = self.with(|engine| (!ready()).then(|| engine.watch(Milestone::Settled, thread::current())));
            match id {
                None => return,
                Some(None) => {}
                Some(Some(id)) => _ = self.wait_while_watching(id, None),
            }
        }
    }

    fn wait_for(&self, milestone: Milestone, deadline: Option<Instant>) -> bool {
        let id = self.with(|engine| engine.watch(milestone, thread::current()));
        id.is_none_or(|id| self.wait_while_watching(id, deadline))
    }

    fn wait_while_watching(&self, id: WatcherId, deadline: Option<Instant>) -> bool {
        let watcher = Watcher { host: self, id };
        // No registration: the thread is in the list since before, and stays there until the milestone is reached.
        self.wait(deadline, || !self.engine().is_watching(watcher.id), drop)
    }
}

/// Waits no longer when it is dropped, also by unwinding.
struct Watcher<'h> {
    host: &'h Host,
    id: WatcherId,
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        // A copy of the host must not take the lock, which another thread may have held when it was made.
        if self.host.owner.is_here() {
            self.host.with(|engine| engine.unwatch(self.id));
        }
    }
}
