//! The handle of a job that was submitted without waiting.

pub(crate) mod several;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::host::notifier::run_in_copy;
use crate::job::batch::CompletionRef;
use crate::job::completion::Completion;
use crate::job::owner::Owner;
use crate::job::waiters::Waiter;
use crate::units;

/// The handle of a job, through which its outcome will come: of one call
/// ([`Pool::apply_async`](crate::Pool::apply_async)), or of a whole map ([`Pool::map_async`](crate::Pool::map_async)).
///
/// It always completes, with a value or with an [`Error`] that says why there is none. That holds for a worker that dies,
/// a pool that is terminated, and a pool that is dropped. It stays readable after [`Pool::join`](crate::Pool::join).
///
/// Any number of threads may wait for it, beside the task that awaits it. In a process that the host forks, each outcome
/// is an [`ErrorKind::Unsupported`] error, at once.
///
/// Dropping it does not stop the job; [`cancel`](AsyncResult::cancel) does. It is a [`Future`] for any executor. Its
/// waker is woken in a thread of the pool that runs nothing but the user's code, so a waker may panic, block, use the
/// pool or drop it:
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// async fn sum(pool: &Pool) -> pool_core::Result<u64> {
///     let (a, b) = (pool.apply_async(square::Task, 3)?, pool.apply_async(square::Task, 4)?);
///     Ok(a.await? + b.await?)
/// }
/// # fn main() {}
/// ```
#[must_use = "dropping it loses the outcome, though the job goes on"]
pub struct AsyncResult<R> {
    completion: CompletionRef,
    /// Decodes the outcome of a finished completion; `None` once the outcome has been taken.
    // A function pointer: the handle is generic over the result alone, and not over the task.
    collect: Option<fn(&Completion) -> Result<R>>,
}

impl<R> AsyncResult<R> {
    pub(crate) fn new(completion: CompletionRef, collect: fn(&Completion) -> Result<R>) -> Self {
        AsyncResult { completion, collect: Some(collect) }
    }

    pub(crate) fn completion(&self) -> &CompletionRef {
        &self.completion
    }

    fn owner(&self) -> &dyn Owner {
        self.completion.owner()
    }

    /// Whether this process is the host and not a forked copy. In a copy the pool's locks may be held for ever, by threads
    /// that the copy does not have.
    #[inline]
    fn is_here(&self) -> bool {
        self.completion.is_here()
    }

    /// Waits for the outcome and returns it.
    ///
    /// # Errors
    ///
    /// The job's own failure; see [`ErrorKind`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let job = pool.apply_async(square::Task, 10)?;
    /// assert_eq!(job.get()?, 100);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "result")]
    pub fn get(mut self) -> Result<R> {
        self.completion.check_owner()?;
        self.wait_until(None);
        self.collect()
    }

    /// Waits for the outcome for at most `limit` and returns it. A limit of zero only looks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if there is no outcome yet. The job goes on and a later call can still succeed. Else as
    /// [`get`](AsyncResult::get). Once it has returned an outcome, that is gone, and further calls are an
    /// [`ErrorKind::InvalidInput`] error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn nap(ms: u64) { std::thread::sleep(Duration::from_millis(ms)) }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let mut job = pool.apply_async(nap::Task, 200)?;
    /// assert_eq!(job.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    /// job.get_timeout(Duration::from_secs(60))?;
    /// # Ok(()) }
    /// ```
    pub fn get_timeout(&mut self, limit: Duration) -> Result<R> {
        self.completion.check_owner()?;
        if !self.wait_timeout(limit) {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("no outcome after {}; the job goes on", units::time(limit)),
            ));
        }
        self.collect_and_stay()
    }

    /// Waits for the outcome, and leaves it for [`get`](AsyncResult::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(square::Task, 3)?;
    /// job.wait();
    /// assert!(job.ready());
    /// assert_eq!(job.get()?, 9);
    /// # Ok(()) }
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits for the outcome for at most `limit`, and returns whether there is one.
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
    /// if !job.wait_timeout(Duration::from_millis(10)) {
    ///     job.cancel();
    /// }
    /// assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        // A limit too large for the clock means no limit.
        self.wait_until(Instant::now().checked_add(limit))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.completion.is_finished() {
            return true;
        }
        self.expect_no_listener();
        let mut is_registered = false;
        let mut register = |thread| is_registered |= self.completion.set_waiter(Waiter::AtEnd(thread)).is_ok();
        let is_finished = self.owner().wait(deadline, &mut || self.completion.is_finished(), &mut register);
        // The registration would wake this thread later, while it waits for something else.
        if is_registered && !is_finished {
            self.completion.forget_this_thread();
        }
        is_finished
    }

    /// Whether there is an outcome. It does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn nap(ms: u64) { std::thread::sleep(Duration::from_millis(ms)) }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(nap::Task, 60_000)?;
    /// assert!(!job.ready());
    /// job.cancel();
    /// assert!(job.ready());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn ready(&self) -> bool {
        self.completion.is_finished()
    }

    /// Whether the outcome is a value; `None` while there is no outcome, and in a process that the host has forked.
    ///
    /// The value is decoded for this answer, and again by [`get`](AsyncResult::get): `true` means that `get` will not fail.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn half(x: u64) -> u64 { assert!(x % 2 == 0); x / 2 }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(half::Task, 3)?;
    /// job.wait();
    /// assert_eq!(job.successful(), Some(false));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        // On a copy: decoding takes the outcome, which `get` is still to return.
        let is_value = |collect: fn(&Completion) -> Result<R>| collect(&self.completion.copy()).is_ok();
        let is_success = || self.completion.is_success() && self.collect.is_none_or(is_value);
        (self.is_here() && self.ready()).then(is_success)
    }

    /// Ends the job now with [`ErrorKind::Cancelled`]; returns false if it has an outcome already.
    ///
    /// Items that wait are dropped. An item that runs is killed together with its worker, which is replaced. Other jobs
    /// are not disturbed, with one exception: an item that this worker began in that very moment may run a second time,
    /// elsewhere.
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
    /// assert!(job.cancel());
    /// assert!(!job.cancel(), "it has an outcome now");
    /// assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    /// # Ok(()) }
    /// ```
    pub fn cancel(&self) -> bool {
        !self.ready() && self.is_here() && self.owner().cancel(self.completion.job(), self.completion.call())
    }

    /// Calls `callback` once with the outcome, as soon as there is one.
    ///
    /// It runs in a thread of the pool that runs nothing but the user's code. It may take its time, block, panic, use the
    /// pool, drop it, or wait for another callback: as many threads are made as there are callbacks that block, up to the
    /// system's limits (`ulimit -u`, the control group's `pids.max`, `kernel.threads-max`, half of `vm.max_map_count`).
    /// Beyond that, callbacks wait until a thread is free. The result is decoded in that thread, too.
    ///
    /// [`Pool::join`](crate::Pool::join) and dropping the pool wait until all callbacks have returned, unless they are
    /// called in a callback or a waker. In a process that the host has forked, the callback gets an
    /// [`ErrorKind::Unsupported`] error at once, in a fresh thread of that process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.apply_async(square::Task, 5)?.on_done(move |result| sender.send(result).unwrap());
    /// assert_eq!(receiver.recv().unwrap()?, 25);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "error_callback")]
    pub fn on_done(mut self, callback: impl FnOnce(Result<R>) + Send + 'static)
    where
        R: 'static,
    {
        if let Err(error) = self.completion.check_owner() {
            return run_in_copy(Box::new(move || callback(Err(error))));
        }
        self.expect_no_listener();
        // Before the callback is registered: from then on the job may end, and the pool with it.
        self.owner().expect_callback();
        // Taken, so that the drop of this handle does not abandon the outcome.
        let (from, collect) = (self.completion.clone(), self.collect.take());
        let run = Waiter::Callback(Box::new(move || callback(collect_from(&from, collect))));
        // The outcome is there already: the callback goes to the same threads as any other, never to this one.
        if let Err(Waiter::Callback(run)) = self.completion.set_waiter(run) {
            self.owner().run_callback(run);
        }
    }

    /// Before a wait: items must not hold reports back for a listener that does not come.
    #[inline]
    fn expect_no_listener(&self) {
        if let Some(reports) = self.completion.reports().filter(|_| self.is_here()) {
            reports.expect_nobody();
        }
    }

    fn collect(&mut self) -> Result<R> {
        collect_from(&self.completion, self.collect.take())
    }

    /// As [`collect`](AsyncResult::collect), where the handle may still be asked something afterwards.
    fn collect_and_stay(&mut self) -> Result<R> {
        // A second call fails for having come too late, which is not the job's failure.
        let was_there = self.collect.is_some();
        let result = self.collect();
        if let Some(error) = result.as_ref().err().filter(|_| was_there) {
            // Else `successful` would find no outcome, and no failure either.
            self.completion.keep_failure(error.duplicate());
        }
        result
    }
}

#[inline]
fn collect_from<R>(completion: &CompletionRef, collect: Option<fn(&Completion) -> Result<R>>) -> Result<R> {
    let taken = || Error::new(ErrorKind::InvalidInput, "the outcome has been taken already");
    let result = collect.ok_or_else(taken).and_then(|collect| collect(completion));
    result.inspect_err(|error| completion.owner().note_undecodable(error.undecodable()))
}

/// Frees the memory of an outcome that will not be taken, though other completions of the batch may stay.
impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        if !self.is_here() {
            // Another thread may have been changing the completion when this copy was made, so the copy never frees it.
            std::mem::forget(self.completion.clone());
        } else if self.collect.is_some() {
            self.completion.abandon();
            if let Some(reports) = self.completion.reports() {
                // Items that report learn that nobody listens, and need not do it any more.
                reports.close();
            }
        }
    }
}

impl<R> Future for AsyncResult<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Ready with an error: a pending future of a copy would never be woken.
        if let Err(error) = self.completion.check_owner() {
            return Poll::Ready(Err(error));
        }
        if !self.completion.is_finished() {
            self.expect_no_listener();
            // An executor that polls many futures finds most of them ready then, and needs no thread of the pool to wake it.
            self.owner().take_replies();
        }
        if self.completion.poll(context.waker()) { Poll::Ready(self.collect_and_stay()) } else { Poll::Pending }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}
