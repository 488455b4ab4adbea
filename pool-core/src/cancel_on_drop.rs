//! A handle that cancels its job when it is dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::Result;
use crate::handle::AsyncResult;

/// An [`AsyncResult`] that cancels its job when it is dropped before there is an outcome; made by
/// [`AsyncResult::cancel_on_drop`].
///
/// It is a [`Future`] for any executor. A future that is given up, by a `select` or a time limit of the executor, does not
/// leave its job behind: waiting items are dropped and running ones are killed, as with [`AsyncResult::cancel`].
///
/// In a process that the host forks, dropping it cancels nothing.
///
/// # Examples
///
/// ```
/// # use pool_core::prelude::*;
/// #[pool_task]
/// fn hang() { loop { std::thread::park() } }
///
/// # #[pool_task]
/// # fn square(x: u64) -> u64 { x * x }
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(1)?;
/// drop(pool.apply_async(hang::Task, ())?.cancel_on_drop());
/// // The only worker is free again, since its process was replaced.
/// assert_eq!(pool.apply(square::Task, 3)?, 9);
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels the job"]
pub struct CancelOnDrop<R> {
    /// `None` only while this is taken apart.
    job: Option<AsyncResult<R>>,
}

impl<R> AsyncResult<R> {
    /// The same handle, which also cancels the job when it is dropped before there is an outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(square::Task, 4)?.cancel_on_drop();
    /// assert_eq!(job.get()?, 16);
    /// # Ok(()) }
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<R> {
        CancelOnDrop { job: Some(self) }
    }
}

impl<R> CancelOnDrop<R> {
    fn job(&self) -> &AsyncResult<R> {
        self.job.as_ref().expect("only `into_inner` takes it, and the handle with it")
    }

    fn job_mut(&mut self) -> &mut AsyncResult<R> {
        self.job.as_mut().expect("only `into_inner` takes it, and the handle with it")
    }

    /// Waits for the outcome and returns it.
    ///
    /// # Errors
    ///
    /// As [`AsyncResult::get`].
    ///
    /// # Examples
    ///
    /// See [`AsyncResult::cancel_on_drop`].
    pub fn get(self) -> Result<R> {
        self.into_inner().get()
    }

    /// Waits for the outcome for at most `limit` and returns it. A limit of zero only looks.
    ///
    /// The job goes on after a time-out, as long as this handle lives.
    ///
    /// # Errors
    ///
    /// As [`AsyncResult::get_timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn nap(ms: u64) { std::thread::sleep(Duration::from_millis(ms)) }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let mut job = pool.apply_async(nap::Task, 60_000)?.cancel_on_drop();
    /// assert_eq!(job.get_timeout(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::Timeout);
    /// // Here the job is cancelled.
    /// # Ok(()) }
    /// ```
    pub fn get_timeout(&mut self, limit: Duration) -> Result<R> {
        self.job_mut().get_timeout(limit)
    }

    /// Waits until there is an outcome; see [`AsyncResult::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(square::Task, 4)?.cancel_on_drop();
    /// job.wait();
    /// assert!(job.ready());
    /// # Ok(()) }
    /// ```
    pub fn wait(&self) {
        self.job().wait();
    }

    /// Waits for at most `limit`; returns whether there is an outcome. See [`AsyncResult::wait_timeout`].
    ///
    /// # Examples
    ///
    /// See [`CancelOnDrop::wait`].
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.job().wait_timeout(limit)
    }

    /// Whether there is an outcome; see [`AsyncResult::ready`].
    ///
    /// # Examples
    ///
    /// See [`CancelOnDrop::wait`].
    pub fn ready(&self) -> bool {
        self.job().ready()
    }

    /// Ends the job now with [`Cancelled`](crate::ErrorKind::Cancelled); returns false if it has an outcome already. See
    /// [`AsyncResult::cancel`].
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
    /// let job = pool.apply_async(hang::Task, ())?.cancel_on_drop();
    /// assert!(job.cancel());
    /// assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    /// # Ok(()) }
    /// ```
    pub fn cancel(&self) -> bool {
        self.job().cancel()
    }

    /// The handle without the promise to cancel: the job goes on when that is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(square::Task, 5)?.cancel_on_drop();
    /// job.into_inner().on_done(|result| assert_eq!(result.unwrap(), 25));
    /// # Ok(()) }
    /// ```
    pub fn into_inner(mut self) -> AsyncResult<R> {
        self.job.take().expect("this takes it, and the handle with it")
    }
}

impl<R> Future for CancelOnDrop<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(self.job_mut()).poll(context)
    }
}

impl<R> Drop for CancelOnDrop<R> {
    fn drop(&mut self) {
        // Does nothing if there is an outcome, or in a copy of the host.
        if let Some(job) = &self.job {
            job.cancel();
        }
    }
}

impl<R> fmt::Debug for CancelOnDrop<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelOnDrop").field("ready", &self.job().ready()).finish_non_exhaustive()
    }
}
