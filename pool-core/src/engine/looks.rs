//! Maps with results that workers hold back, by the time of the next look for them.

use std::collections::BTreeSet;

use crate::scheduler::JobId;
use crate::units::Nanos;

#[derive(Debug, Default)]
pub(super) struct Looks(BTreeSet<(Nanos, JobId)>);

impl Looks {
    /// The time of the next look.
    #[inline]
    pub(super) fn next(&self) -> Option<Nanos> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn add(&mut self, at: Nanos, job: JobId) {
        self.0.insert((at, job));
    }

    #[cfg(feature = "stream")]
    pub(super) fn remove(&mut self, at: Nanos, job: JobId) {
        self.0.remove(&(at, job));
    }

    /// Takes out a map that is due.
    pub(super) fn take_due(&mut self, now: Nanos) -> Option<JobId> {
        // One at a time: a look takes in replies, which may add or remove others.
        let first = self.0.first().copied().filter(|(at, _)| *at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }
}
