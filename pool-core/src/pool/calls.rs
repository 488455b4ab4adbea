//! Single calls: one set of arguments, one result.

use super::Pool;
use crate::caller::arguments::encode_owned;
#[cfg(feature = "json")]
use crate::caller::json::Encoded;
use crate::caller::outcome;
use crate::codec::bytes::Bytes;
use crate::error::Result;
use crate::handle::AsyncResult;
use crate::host::Host;
use crate::job::blocks::Call;
use crate::submit::Submit;
use crate::task::Task;

impl Pool {
    /// Calls the task in a worker and waits for its result.
    ///
    /// # Errors
    ///
    /// The job's own failure (see [`ErrorKind`](crate::ErrorKind)); `Closed` if the pool was closed or terminated,
    /// `Broken` if its workers could not be started; `Encode` if the arguments cannot be serialized; `InvalidInput` for
    /// an option out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn add(a: u64, b: u64) -> u64 { a + b }
    ///
    /// #[pool_task]
    /// fn fail() { panic!("on purpose") }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(add::Task, (1, 2))?, 3);
    /// let error = pool.apply(fail::Task, ()).unwrap_err();
    /// assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("on purpose")));
    /// # Ok(()) }
    /// ```
    pub fn apply<T: Task>(&self, task: T, args: T::Args<'_>) -> Result<T::Output> {
        self.call(task, args, true)?.get()
    }

    /// Submits a call of the task and returns its handle at once.
    ///
    /// It does not wait, unless the pool has a [`max_pending`](crate::PoolBuilder::max_pending) and that is reached.
    /// The arguments are encoded before it returns.
    ///
    /// # Errors
    ///
    /// `Closed`, `Broken`, `Encode` and `InvalidInput` as for [`apply`](Pool::apply). The failure of the job itself comes
    /// from the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn length(text: &str) -> usize { text.len() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let (one, other) = (pool.apply_async(length::Task, "ab")?, pool.apply_async(length::Task, "abc")?);
    /// assert_eq!(one.get()? + other.get()?, 5);
    /// # Ok(()) }
    /// ```
    pub fn apply_async<T: Task>(&self, task: T, args: T::Args<'_>) -> Result<AsyncResult<T::Output>> {
        self.call(task, args, false)
    }

    /// As [`apply_async`](Pool::apply_async), but never waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`](crate::ErrorKind::Full) if as many items or bytes are pending as may be, or if other submissions
    /// wait for room; else as [`apply_async`](Pool::apply_async). A pool without
    /// [`max_pending`](crate::PoolBuilder::max_pending) and
    /// [`max_pending_bytes`](crate::PoolBuilder::max_pending_bytes) is never full.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn nap(ms: u64) { std::thread::sleep(Duration::from_millis(ms)) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).max_pending(1).build()?;
    /// let first = pool.try_apply_async(nap::Task, 500)?;
    /// let error = pool.try_apply_async(nap::Task, 0).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Full);
    /// first.get()?;
    /// pool.try_apply_async(nap::Task, 0)?.get()
    /// # }
    /// ```
    pub fn try_apply_async<T: Task>(&self, task: T, args: T::Args<'_>) -> Result<AsyncResult<T::Output>> {
        // Encoded before the lock is taken: `Serialize` is the user's code.
        let call = call_of::<T>(encode_owned::<T>(args, Some(&self.host))?);
        Ok(AsyncResult::new(Host::try_call(&self.host, call, &task.options())?, outcome::one::<T>))
    }

    /// A future that submits a call of the task when there is room for it. Its output is the handle of the call.
    ///
    /// The arguments are encoded now, so the future owns all that it needs. It waits without a thread, and gets room in its
    /// turn: first come, first served, with the threads that wait in [`apply_async`](Pool::apply_async). See [`Submit`].
    ///
    /// # Errors
    ///
    /// The output is an error as for [`apply_async`](Pool::apply_async), `Encode` included.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// async fn twice(pool: &Pool) -> pool_core::Result<u64> {
    ///     let (one, other) = (pool.submit(square::Task, 3).await?, pool.submit(square::Task, 4).await?);
    ///     Ok(one.await? + other.await?)
    /// }
    /// # fn main() -> pool_core::Result<()> {
    /// # use std::{future::Future, pin::pin, sync::Arc, task::{Context, Poll, Wake}, thread::{self, Thread}};
    /// # struct Unpark(Thread);
    /// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let waker = Arc::new(Unpark(thread::current())).into();
    /// #     let mut future = pin!(future);
    /// #     loop {
    /// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #             Poll::Ready(output) => return output,
    /// #             Poll::Pending => thread::park(),
    /// #         }
    /// #     }
    /// # }
    /// let pool = Pool::builder().workers(1).max_pending(1).build()?;
    /// assert_eq!(block_on(twice(&pool))?, 25);
    /// # Ok(()) }
    /// ```
    pub fn submit<T: Task>(&self, task: T, args: T::Args<'_>) -> Submit<T::Output> {
        // Encoded now, so that the future borrows nothing and can be sent to other threads.
        let call = || {
            Ok((call_of::<T>(encode_owned::<T>(args, Some(&self.host))?), self.host.spec(T::entry(), &task.options())?))
        };
        Submit::new(&self.host, call(), outcome::one::<T>)
    }

    /// Submits a call with JSON.
    #[cfg(feature = "json")]
    pub(crate) fn call_json(&self, call: Call) -> Result<AsyncResult<Encoded>> {
        Ok(AsyncResult::new(Host::call(&self.host, call, None, false)?, Encoded::of))
    }

    /// Inlined, so that each task has a copy of the lines that depend on its types, and of no others.
    #[inline(always)]
    fn call<T: Task>(&self, task: T, args: T::Args<'_>, urgent: bool) -> Result<AsyncResult<T::Output>> {
        let call = call_of::<T>(encode_owned::<T>(args, Some(&self.host))?);
        Ok(AsyncResult::new(Host::call(&self.host, call, task.own_options(), urgent)?, outcome::one::<T>))
    }
}

#[inline(always)]
fn call_of<T: Task>((args, raw): (Bytes, bool)) -> Call {
    Call { entry: T::entry(), args, args_size: T::args_size(), raw }
}
