//! Broadcasts: one call in each worker.

use super::Pool;
use crate::caller::arguments::encode_one;
use crate::caller::outcome::Gathered;
use crate::error::{Error, ErrorKind, Result};
use crate::job::blocks::Call;
use crate::scheduler::JobSpec;
use crate::task::table::Entry;
use crate::task::{Task, TaskOptions};

impl Pool {
    /// Calls the task once in each worker of this moment, and returns the results in the order of the workers: to clear their
    /// caches, to have them read a file again, to ask each of them something.
    ///
    /// A worker runs it after what it runs and what it has been sent already, so a long item holds the broadcast up, and nothing else: the
    /// task's time limit counts from its own start, and this wait has none. A
    /// worker that is starting runs it when it is ready. Workers that are about to leave, or have left since they were idle
    /// ([`idle_timeout`](crate::PoolBuilder::idle_timeout)), are left out. A replacement never runs it, since it is a fresh process that
    /// has run its initializer and opened its states: if a worker ends before it has run the task, its place in the results is an error
    /// ([`WorkerDied`](ErrorKind::WorkerDied)) that says so.
    ///
    /// In the task the index of [`current_item`](crate::current_item) is the place of its worker in the results.
    ///
    /// The time limit, the grace, the label and the seed of the task hold. It runs at once, whatever its priority, and does not
    /// count for [`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker) nor wait for room
    /// ([`max_pending`](crate::PoolBuilder::max_pending)). The pool's [`retries`](crate::PoolBuilder::retries) do not apply, and
    /// nobody hears its reports.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a task with `retries`, a `max_concurrent` or a `chunk_size`, which cannot
    /// be kept; [`Unsupported`](ErrorKind::Unsupported) in a worker of this very pool that is a thread
    /// ([`in_process`](crate::PoolBuilder::in_process)); else those of the submission, as for [`apply`](Pool::apply). If the pool ends meanwhile, the workers that have
    /// not run it have that error.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use pool_core::prelude::*;
    ///
    /// static LEVEL: AtomicU64 = AtomicU64::new(0);
    ///
    /// #[pool_task]
    /// fn set_level(level: u64) -> u64 { LEVEL.swap(level, Ordering::Relaxed) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(3)?;
    /// for (worker, before) in pool.broadcast(set_level::Task, 7)?.into_iter().enumerate() {
    ///     println!("worker {worker}: it was {}", before?);
    /// }
    /// assert_eq!(pool.apply(set_level::Task, 8)?, 7);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "run_on_all")]
    pub fn broadcast<T: Task>(&self, task: T, args: T::Args<'_>) -> Result<Vec<Result<T::Output>>> {
        // First: a refusal should not wait for large arguments to be encoded.
        self.host.check_wait()?;
        let spec = self.broadcast_spec(T::entry(), &task.options())?;
        // Encoded before the lock is taken: `Serialize` is the user's code.
        let args = encode_one::<T>(&args, Some(&self.host))?;
        let call = Call { entry: T::entry(), args, args_size: T::args_size(), raw: false };
        let (completion, items) = self.host.broadcast(spec, call)?;
        let mut gathered = Gathered::<T>::with_capacity(items as usize);
        gathered.take_all(&self.host, &completion, items.into());
        Ok(gathered.into_results())
    }

    /// The specification of a broadcast.
    ///
    /// # Errors
    ///
    /// An option that is out of range, or makes no sense here.
    fn broadcast_spec(&self, entry: &'static Entry, options: &TaskOptions) -> Result<JobSpec> {
        #[cfg(feature = "remote")]
        self.host.check_local("broadcast")?;
        let spec = self.host.spec(entry, options)?;
        // Those that are a promise. Of the others nobody notices that they have no effect.
        let why = match options {
            TaskOptions { retries: Some(1..), .. } => "is never run twice, and its task has `retries`",
            TaskOptions { max_concurrent: Some(_), .. } => {
                "runs in all workers at once, and its task has a `max_concurrent`"
            }
            TaskOptions { chunk_size: Some(_), .. } => "has one item for each worker, and its task has a `chunk_size`",
            _ => return Ok(JobSpec { reports: false, bulk: true, ..spec }),
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("a broadcast {why}")).of_task(entry.path()))
    }
}
