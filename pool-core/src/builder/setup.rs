//! Options of what tasks find in their worker.

use std::ffi::OsString;

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

    /// The number of threads that libraries start in each worker: OpenMP, rayon, OpenBLAS and MKL, by their variables
    /// `OMP_NUM_THREADS`, `RAYON_NUM_THREADS`, `OPENBLAS_NUM_THREADS` and `MKL_NUM_THREADS`.
    ///
    /// Unset, each of them starts as many as there are CPUs, in each worker. Zero is an `InvalidInput` error of
    /// [`build`](PoolBuilder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn threads() -> String { std::env::var("RAYON_NUM_THREADS").unwrap_or_default() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).threads_per_worker(1).build()?;
    /// assert_eq!(pool.apply(threads::Task, ())?, "1");
    /// # Ok(()) }
    /// ```
    pub fn threads_per_worker(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        for name in ["OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
            self.limits.env.set(name.into(), vec![threads.to_string().into()]);
        }
        self
    }

    /// A variable of the environment of workers: worker *i* gets `values[i % len]`, its replacements too. Called again for
    /// the same name, it takes the earlier one's place.
    ///
    /// One value for all is part of the environment with which the fork server is started, so constructors of the program
    /// and of its libraries find it. With several values that is so only with [`StartMethod::Spawn`]: otherwise the value is
    /// set (setenv(3)) in a process that has been forked, before any of the program's code runs there. Libraries that read
    /// the variable when they are loaded (glibc's `GLIBC_TUNABLES` and `LD_LIBRARY_PATH`, some builds of OpenMP) have read it
    /// in the fork server by then, and `/proc/PID/environ` shows the fork server's. The same goes for
    /// [`StartMethod::Fork`] with any number of values: the host has run for long.
    ///
    /// No values, an empty name, or one with `=` or a zero byte in it are an `InvalidInput` error of
    /// [`build`](PoolBuilder::build).
    ///
    /// [`StartMethod::Spawn`]: crate::StartMethod::Spawn
    /// [`StartMethod::Fork`]: crate::StartMethod::Fork
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn device() -> String { std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(4).worker_env("CUDA_VISIBLE_DEVICES", ["0", "1"]).build()?;
    /// assert!(["0", "1"].contains(&pool.apply(device::Task, ())?.as_str()));
    /// # Ok(()) }
    /// ```
    pub fn worker_env<V: Into<OsString>>(
        mut self,
        name: impl Into<OsString>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.limits.env.set(name.into(), values.into_iter().map(Into::into).collect());
        self
    }
}
