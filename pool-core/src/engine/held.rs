//! Results that workers hold back, of maps that a future awaits.
//!
//! A worker publishes several results together, so a result may be held back by a later item that takes long. A thread that
//! waits for it takes it out of the worker's memory after a while. A future has no clock, so the supervisor does that for
//! it: first after 10 ms, then after longer and longer times, as long as items of the map are out.

#[cfg(feature = "stream")]
use pool_ipc::sys::monotonic_ns;

use super::Engine;
use crate::job::Look;
#[cfg(feature = "stream")]
use crate::scheduler::JobId;
use crate::units::Nanos;

/// The first pause before a look.
const PAUSE_MIN_NS: Nanos = 10_000_000;
/// The longest pause between two looks.
const PAUSE_MAX_NS: Nanos = 1_000_000_000;

impl Engine {
    /// Has workers asked for results of this map that they hold back, from a while from now on.
    #[cfg(feature = "stream")]
    pub(crate) fn watch_held(&mut self, job: JobId) {
        let Some(record) = self.scheduler.record_mut(job) else { return };
        // A look that is to come soon is left as it is: the future may have been polled for another reason.
        if record.look.is_some_and(|look| look.pause == PAUSE_MIN_NS) {
            return;
        }
        let look = Look { at: monotonic_ns().saturating_add(PAUSE_MIN_NS), pause: PAUSE_MIN_NS };
        // The place in the order of looks is by time, so a look that moves has to be taken out first.
        if let Some(before) = record.look.replace(look) {
            self.looks.remove(before.at, job);
        }
        self.looks.add(look.at, job);
    }

    /// Takes the held results of the maps that are due.
    #[cold]
    pub(super) fn look_for_held(&mut self, now: Nanos) {
        while let Some(job) = self.looks.take_due(now) {
            // Replies were taken in by the caller, as `take_held` needs.
            self.take_held(job);
            let is_out = self.scheduler.has_unsettled(job);
            let Some(record) = self.scheduler.record_mut(job) else { continue };
            // Doubled: a map of long items costs ever fewer looks, and short ones are found within milliseconds.
            let pause = record.look.map_or(PAUSE_MIN_NS, |look| (2 * look.pause).min(PAUSE_MAX_NS));
            let look = Look { at: now.saturating_add(pause), pause };
            // Nothing is out: an idle pool has no timer.
            record.look = is_out.then_some(look);
            if is_out {
                self.looks.add(look.at, job);
            }
        }
    }
}
