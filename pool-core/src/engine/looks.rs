//! The maps whose held results are looked for, by the time of the next look.

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

    /// Takes out a map whose time has come.
    pub(super) fn take_due(&mut self, now: Nanos) -> Option<JobId> {
        let first = self.0.first().copied().filter(|(at, _)| *at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }
}
