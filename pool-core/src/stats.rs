//! What a pool has done so far.

use std::process::ExitStatus;

/// Numbers of a pool since it was made; from [`Pool::stats`](crate::Pool::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs submitted: calls, and maps of any length.
    pub jobs_submitted: u64,
    /// Jobs that have ended, well or not.
    pub jobs_finished: u64,
    /// Items that gave a value; a single call is one item. Whether a value can be decoded is found out when it is taken:
    /// if not, its item counts as failed from then on.
    pub items_succeeded: u64,
    /// Items that gave an error of their own. Those of jobs that were ended early (cancelled, terminated) are in
    /// neither count.
    pub items_failed: u64,
    /// Items accepted and not settled now.
    pub items_pending: u64,
    /// Worker processes started, replacements included.
    pub workers_started: u64,
    /// Worker processes that ended by a signal or with an exit code other than 0, those that the pool killed included.
    pub workers_died: u64,
}

/// The counting side.
#[derive(Debug, Default)]
pub(crate) struct Counts(pub(crate) Stats);

impl Counts {
    /// One more; how many that makes.
    pub(crate) fn submitted(&mut self) -> u64 {
        self.0.jobs_submitted += 1;
        self.0.jobs_submitted
    }

    pub(crate) fn finished(&mut self) {
        self.0.jobs_finished += 1;
    }

    pub(crate) fn settled(&mut self, items: u32, is_ok: bool) {
        let count = if is_ok { &mut self.0.items_succeeded } else { &mut self.0.items_failed };
        *count += u64::from(items);
    }

    /// So many values have turned out to be none.
    pub(crate) fn undecodable(&mut self, items: u32) {
        self.0.items_succeeded = self.0.items_succeeded.saturating_sub(items.into());
        self.0.items_failed += u64::from(items);
    }

    pub(crate) fn launched(&mut self) {
        self.0.workers_started += 1;
    }

    pub(crate) fn exited(&mut self, status: ExitStatus) {
        self.0.workers_died += u64::from(!status.success());
    }
}
