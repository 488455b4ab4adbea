//! Options that limit a pool and its workers: items, time, memory, processes.

use std::time::Duration;

use super::PoolBuilder;

impl PoolBuilder {
    /// After so many items, at least 1, a worker is replaced by a fresh process. No item is lost by that. With 1, no task
    /// ever sees the traces of another.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// #[pool_task]
    /// fn calls_before() -> u32 {
    ///     static CALLS: AtomicU32 = AtomicU32::new(0);
    ///     CALLS.fetch_add(1, Ordering::Relaxed)
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).max_tasks_per_worker(1).build()?;
    /// assert_eq!(pool.map(calls_before::Task, [(); 3])?, [0, 0, 0]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_worker(mut self, items: u64) -> Self {
        self.max_tasks_per_worker = Some(items);
        self
    }

    /// The number of items that may be pending, at least 1: accepted and not settled. It bounds the memory of a producer
    /// that is faster than the workers (backpressure).
    ///
    /// [`apply`](crate::Pool::apply), [`apply_async`](crate::Pool::apply_async) and [`map`](crate::Pool::map) wait
    /// until there is room, first come, first served; [`try_apply_async`](crate::Pool::try_apply_async) does not wait,
    /// and [`submit`](crate::Pool::submit) waits as a future. A lazy map pulls no more of its input than there is room
    /// for, but as much as there is: [`Task::prefetch`](crate::Task::prefetch) leaves some to calls beside it, which would
    /// else wait in line with its items. A [priority](crate::Priority) is that of pending items: room is first come, first
    /// served.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).max_pending(10).build()?;
    /// // Each submission waits until fewer than 10 are pending.
    /// let jobs: Vec<_> = (0..100).map(|x| pool.apply_async(square::Task, x)).collect::<Result<_, _>>()?;
    /// assert_eq!(jobs.into_iter().map(|job| job.get()).sum::<pool_core::Result<u64>>()?, 328_350);
    /// # Ok(()) }
    /// ```
    pub fn max_pending(mut self, items: usize) -> Self {
        self.max_pending = Some(items);
        self
    }

    /// The bytes of encoded arguments that may be pending, at least 1: those of items that are accepted and not settled.
    ///
    /// Submissions wait as for [`max_pending`](PoolBuilder::max_pending), first come, first served. One that is larger than
    /// the limit is accepted alone, when no other arguments are pending. A map holds at most one block of at most 64 KiB, or
    /// one larger item, beside that, since the size of an item is not known before it is pulled and encoded. A lazy map has
    /// no more bytes of arguments and results out than this, as far as it can tell from the results so far.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn length(bytes: &[u8]) -> usize { bytes.len() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).max_pending_bytes(1 << 20).build()?;
    /// let page = vec![0; 64 << 10];
    /// // At most sixteen of these pages are in memory at once, though a hundred are submitted.
    /// assert_eq!(pool.map(length::Task, (0..100).map(|_| &page[..]))?.len(), 100);
    /// # Ok(()) }
    /// ```
    pub fn max_pending_bytes(mut self, bytes: u64) -> Self {
        self.max_pending_bytes = Some(bytes);
        self
    }

    /// The number of times in a row that a worker is started again after it failed to start, or its initializer failed.
    /// If the last of these attempts fails, too, the pool is [`Broken`](crate::ErrorKind::Broken): with 0, at the first
    /// failure. Workers that die later, of their tasks, are always replaced.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn prepare() -> Result<(), String> { Err("no licence".into()) }
    ///
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).initializer(prepare::Task, ()).restart_limit(0).build()?;
    /// let error = pool.apply(square::Task, 1).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Broken);
    /// assert!(error.to_string().contains("no licence"));
    /// # Ok(()) }
    /// ```
    pub fn restart_limit(mut self, restarts: u32) -> Self {
        self.restart_limit = restarts;
        self
    }

    /// The time limit of each item, for tasks that set none themselves; see [`Task::timeout`](crate::Task::timeout). It
    /// does not apply to the initializer. Zero is an [`InvalidInput`](crate::ErrorKind::InvalidInput) error of
    /// [`build`](PoolBuilder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn hang() { loop { std::thread::park() } }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(50)).build()?;
    /// assert_eq!(pool.apply(hang::Task, ()).unwrap_err().kind(), ErrorKind::TaskTimeout);
    /// # Ok(()) }
    /// ```
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.defaults.timeout = Some(limit);
        self
    }

    /// The number of further attempts at an item that killed its worker or exceeded its time limit, for tasks that set
    /// none themselves; see [`Task::retries`](crate::Task::retries).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn abort() { std::process::abort() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).retries(2).build()?;
    /// let error = pool.apply(abort::Task, ()).unwrap_err();
    /// assert_eq!((error.kind(), error.attempts()), (ErrorKind::WorkerDied, 3));
    /// # Ok(()) }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.defaults.retries = Some(retries);
        self
    }

    /// Bytes that each worker may allocate beyond its memory at the start (its private writable memory: RLIMIT_DATA in
    /// getrlimit(2)). An allocation that goes past it fails, and a task that cannot do without ends in
    /// [`MemoryLimit`](crate::ErrorKind::MemoryLimit). With a limit of 0 a task has the memory that its process has at the start and
    /// does not use, which suffices for little.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn allocate(bytes: usize) -> usize { vec![1_u8; bytes].len() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).memory_limit(64 << 20).build()?;
    /// assert_eq!(pool.apply(allocate::Task, 1 << 20)?, 1 << 20);
    /// assert_eq!(pool.apply(allocate::Task, 1 << 30).unwrap_err().kind(), ErrorKind::MemoryLimit);
    /// # Ok(()) }
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.limits.memory_limit = Some(bytes);
        self
    }

    /// A worker is replaced by a fresh process, between two jobs, when its resident memory has grown by more than so
    /// many bytes since it started: for tasks that leak. No item is lost by that. Memory that it starts with does not
    /// count, even if that is all of the host's, as with [`StartMethod::Fork`](crate::StartMethod::Fork). With 0 a page more is too
    /// much.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn leak(bytes: usize) -> u32 {
    ///     Vec::leak(vec![1_u8; bytes]);
    ///     std::process::id()
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).max_worker_rss(16 << 20).build()?;
    /// let first = pool.apply(leak::Task, 64 << 20)?;
    /// assert_ne!(pool.apply(leak::Task, 0)?, first);
    /// # Ok(()) }
    /// ```
    pub fn max_worker_rss(mut self, bytes: u64) -> Self {
        self.limits.max_rss = Some(bytes);
        self
    }

    /// A worker that has had nothing to do for so long leaves, and another process takes its place when there is work. A
    /// pool that is seldom used costs no memory meanwhile. With a limit of zero a worker leaves as soon as it has nothing to do.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).idle_timeout(Duration::from_millis(10)).build()?;
    /// while !pool.worker_pids().is_empty() {
    ///     std::thread::sleep(Duration::from_millis(1));
    /// }
    /// assert_eq!(pool.apply(square::Task, 3)?, 9);
    /// # Ok(()) }
    /// ```
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }
}
