//! The priority of a job beside others.

/// The priority of a job, set by [`Task::priority`](crate::Task::priority) or `#[pool_task(priority = "high")]`.
///
/// Items of a higher priority go to workers first. Items of [`Low`](Priority::Low) are run only when no others wait, so a
/// pool that always has other work never runs them: a lower priority can starve. Running items are not interrupted. Jobs
/// of one priority share the workers evenly, by the time that their items take.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
/// use pool_core::Priority;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let background = pool.map_async(square::Task.priority(Priority::Low), 0..1000)?;
/// assert_eq!(pool.apply(square::Task.priority(Priority::High), 3)?, 9);
/// assert_eq!(background.get()?.len(), 1000);
/// assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "remote", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Priority {
    /// Runs only when no item of a higher priority waits.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Runs before all others.
    High,
}
