//! Looking at a pool: its workers, and how its tasks fare.

use super::Pool;
use crate::observe::insights::{Insights, Running};

impl Pool {
    /// The state and history of each worker, and how each task fares.
    ///
    /// All of this is always counted. A pool that has been asked nothing has paid a few additions for each chunk. This copies the
    /// counters, reads the memory of each worker from `/proc`, and never waits for a worker. Counts of one call fit together;
    /// the memory is read a moment later. In a process that the program forked there are no workers and no tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    ///
    /// #[pool_task]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// pool.map(square::Task, 0..1000)?;
    /// let insights = pool.insights();
    /// assert_eq!(insights.tasks[0].items, 1000);
    /// assert_eq!(insights.workers.iter().map(|worker| worker.items).sum::<u64>(), 1000);
    /// println!("{insights}"); // a table
    /// # Ok(()) }
    /// ```
    pub fn insights(&self) -> Insights {
        self.host.insights()
    }

    /// The items that run at this moment, in the order of the workers.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    ///
    /// #[pool_task]
    /// fn hang() { std::thread::sleep(Duration::from_secs(600)) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let _job = pool.apply_async(hang::Task.label("nightly"), ())?;
    /// let running = loop {
    ///     if let [running] = &pool.running()[..] {
    ///         break running.clone();
    ///     }
    /// };
    /// assert!(running.task.ends_with("::hang"));
    /// assert_eq!((running.label, running.worker), (Some("nightly"), 0));
    /// # Ok(()) }
    /// ```
    pub fn running(&self) -> Vec<Running> {
        self.host.running()
    }
}
