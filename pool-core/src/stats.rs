//! Counts of a pool's jobs, items and workers.

/// Counts since the pool was made; from [`Pool::stats`](crate::Pool::stats).
///
/// They are of one moment: no job or item is counted in part.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn half(x: u64) -> u64 { assert!(x % 2 == 0); x / 2 }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let _ = pool.map(half::Task, 0..10);
/// let stats = pool.stats();
/// assert_eq!((stats.jobs_submitted, stats.jobs_finished), (1, 1));
/// assert_eq!((stats.items_succeeded, stats.items_failed, stats.items_pending), (5, 5, 0));
/// assert_eq!((stats.workers_started, stats.workers_died), (2, 0));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs submitted: calls, and maps of any length.
    pub jobs_submitted: u64,
    /// Jobs that have ended, well or not.
    pub jobs_finished: u64,
    /// Items that gave a value; a single call is one item. A value is decoded when it is taken: if that fails, its item
    /// counts as failed from then on.
    pub items_succeeded: u64,
    /// Items that gave an error of their own. Those of jobs that were ended early (cancelled, terminated) are in
    /// neither count.
    pub items_failed: u64,
    /// Items accepted, and neither succeeded nor failed yet.
    pub items_pending: u64,
    /// Worker processes started, replacements included.
    pub workers_started: u64,
    /// Worker processes that ended by a signal or with an exit code other than 0, those that the pool killed included.
    pub workers_died: u64,
}

/// The counts, and the events that change them.
#[derive(Debug, Default)]
pub(crate) struct Counts(pub(crate) Stats);

impl Counts {
    /// Increments the count and returns it.
    pub(crate) fn submitted(&mut self) -> u64 {
        self.0.jobs_submitted += 1;
        self.0.jobs_submitted
    }

    pub(crate) fn finished(&mut self) {
        self.0.jobs_finished += 1;
    }

    pub(crate) fn settled(&mut self, items: u32, is_ok: bool) {
        // Cancelled items are in neither count, so this is not called for them.
        let count = if is_ok { &mut self.0.items_succeeded } else { &mut self.0.items_failed };
        *count += u64::from(items);
    }

    /// Moves values that could not be decoded from the successes to the failures.
    pub(crate) fn undecodable(&mut self, items: u32) {
        self.0.items_succeeded = self.0.items_succeeded.saturating_sub(items.into());
        self.0.items_failed += u64::from(items);
    }

    pub(crate) fn launched(&mut self) {
        self.0.workers_started += 1;
    }

    pub(crate) fn exited(&mut self, in_peace: bool) {
        self.0.workers_died += u64::from(!in_peace);
    }
}
