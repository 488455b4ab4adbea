//! Single calls: one set of arguments, one result.

use super::Pool;
use crate::caller::arguments::encode_owned;
use crate::caller::outcome;
use crate::error::Result;
use crate::handle::AsyncResult;
use crate::host::Host;
use crate::job::blocks::Call;
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

    /// Inlined, so that each task has a copy only of what depends on its types.
    #[inline(always)]
    fn call<T: Task>(&self, task: T, args: T::Args<'_>, urgent: bool) -> Result<AsyncResult<T::Output>> {
        let (args, raw) = encode_owned::<T>(args)?;
        let call = Call { entry: T::entry(), args, args_size: T::args_size(), raw };
        Ok(AsyncResult::new(Host::call(&self.host, call, task.options(), urgent)?, outcome::one::<T>))
    }
}
