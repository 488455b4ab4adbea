//! Options of what tasks find in their worker.

use super::PoolBuilder;

impl PoolBuilder {
    /// A seed for the random numbers of tasks: an item gets the same [`CurrentItem::seed`](crate::CurrentItem::seed) in every
    /// run in which as many jobs were submitted to the pool before its own, with any number of workers, and at every attempt.
    ///
    /// A [task's own seed](crate::Task::seed) comes first. Calls with a seed travel one by one, which costs small ones some
    /// of their speed; maps lose none.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    /// use pool_core::current_item;
    ///
    /// /// Points of so many that lie in the circle. Any generator of random numbers does that takes a seed.
    /// #[pool_task]
    /// fn hits(points: u32) -> u32 {
    ///     let mut state = current_item().unwrap().seed | 1;
    ///     let mut draw = || {
    ///         state ^= state << 13;
    ///         state ^= state >> 7;
    ///         state ^= state << 17;
    ///         (state >> 11) as f64 / (1u64 << 53) as f64
    ///     };
    ///     (0..points).filter(|_| draw().powi(2) + draw().powi(2) < 1.0).count() as u32
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let count = |workers| Pool::builder().workers(workers).seed(42).build()?.map(hits::Task, [1000; 20]);
    /// assert_eq!(count(1)?, count(2)?);
    /// # Ok(()) }
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.defaults.seed = Some(seed);
        self
    }
}
