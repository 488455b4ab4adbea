//! Waiting for a state of the whole pool: that it is idle, or that its workers are ready.

use std::time::{Duration, Instant};

use super::Pool;
use crate::error::{Error, ErrorKind, Result};
use crate::units;

impl Pool {
    /// Waits until nothing is pending: every item that was submitted has an outcome.
    ///
    /// It waits for the inputs of maps that other threads submit, but not for those of lazy maps ([`imap`](Pool::imap))
    /// beyond the items that are out. It does not wait for callbacks, nor for calls that wait for room themselves. If other
    /// threads go on submitting, one moment with nothing pending is enough. The pool stays open.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] in a process that the host has forked, and in a worker of this very pool that is a thread
    /// ([`in_process`](crate::PoolBuilder::in_process)). A pool that was terminated is idle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let jobs: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x)).collect::<Result<_, _>>()?;
    /// pool.wait_idle()?;
    /// assert!(jobs.iter().all(|job| job.ready()));
    /// # Ok(()) }
    /// ```
    pub fn wait_idle(&self) -> Result<()> {
        self.host.check_wait()?;
        self.host.wait_idle(None);
        self.host.check_owner()
    }

    /// As [`wait_idle`](Pool::wait_idle), for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if something is pending still; it goes on. Else as [`wait_idle`](Pool::wait_idle).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn hang() { loop { std::thread::park() } }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(hang::Task, ())?;
    /// let error = pool.wait_idle_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Timeout);
    /// job.cancel();
    /// pool.wait_idle_timeout(Duration::from_secs(60))
    /// # }
    /// ```
    pub fn wait_idle_timeout(&self, limit: Duration) -> Result<()> {
        self.host.check_wait()?;
        if self.host.wait_idle(Instant::now().checked_add(limit)) {
            return Ok(());
        }
        self.host.check_owner()?;
        // Read after the wait, so the number may be 0 by then; the error still says that the limit has passed.
        let pending = match self.stats().items_pending {
            1 => "1 item is pending".to_owned(),
            pending => format!("{pending} items are pending"),
        };
        Err(Error::new(ErrorKind::Timeout, format!("the pool is not idle after {}: {pending}", units::time(limit))))
    }

    /// Waits until every worker has started and passed its initializer.
    ///
    /// A worker that was ready once counts: also while it is being replaced, and when it has left because it was idle. Jobs
    /// need not wait for this: they run as soon as one worker is ready.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] if the pool is closed or terminated before, [`ErrorKind::Broken`] if its workers cannot be
    /// started, with the reason. [`ErrorKind::Unsupported`] in a process that the host has forked, and in a worker of this pool
    /// that is a [thread](crate::PoolBuilder::in_process): in the initializer it would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn prepare() -> Result<(), String> { std::fs::read("/no/such/model").map(drop).map_err(|error| error.to_string()) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// Pool::new(2)?.wait_ready()?;
    /// let pool = Pool::builder().workers(2).initializer(prepare::Task, ()).restart_limit(0).build()?;
    /// let error = pool.wait_ready().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Broken);
    /// assert!(error.to_string().contains("No such file"), "{error}");
    /// # Ok(()) }
    /// ```
    pub fn wait_ready(&self) -> Result<()> {
        self.host.check_wait()?;
        self.host.wait_started(None)
    }

    /// As [`wait_ready`](Pool::wait_ready), for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if a worker is not ready yet; the text tells the number of ready workers, and the latest
    /// failure of a start. Else as [`wait_ready`](Pool::wait_ready).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn prepare() { std::thread::sleep(Duration::from_secs(600)) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).initializer(prepare::Task, ()).build()?;
    /// let error = pool.wait_ready_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert_eq!(error.to_string(), "0 of 2 workers are ready after 10 ms");
    /// # Ok(()) }
    /// ```
    pub fn wait_ready_timeout(&self, limit: Duration) -> Result<()> {
        self.host.check_wait()?;
        self.host.wait_started(Some(limit))
    }
}
