//! The pool itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::caller::arguments::encode_owned;
use crate::caller::input::MapInput;
use crate::caller::outcome::{self, Gathered};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::AsyncResult;
use crate::host::Host;
use crate::imap::{Imap, ImapUnordered};
use crate::job::blocks::Call;
use crate::scheduler::{JobSpec, State};
use crate::stats::Stats;
use crate::task::Task;
use crate::units;

/// A fixed number of worker processes, and the jobs that wait for them.
///
/// Share it by reference: all methods take `&self`. Dropping it is [`terminate`](Pool::terminate) and waiting until
/// nothing is left: no process, no thread, no descriptor. That includes callbacks, so none may wait for the thread that
/// drops the pool. A pool that is dropped in a callback or a waker does not wait for those.
///
/// A process that the host forks has no part in it: submitting and waiting are [`ErrorKind::Unsupported`] errors there,
/// closing, terminating and dropping do nothing, and the pool says that it is terminated and has no workers. Nothing of
/// it blocks there.
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
/// let pool = Pool::new(4)?;
/// assert_eq!(pool.apply(square::Task, 10)?, 100);
/// assert_eq!(pool.map(square::Task, 0..5)?, [0, 1, 4, 9, 16]);
/// pool.close();
/// pool.join()
/// # }
/// ```
pub struct Pool {
    host: Arc<Host>,
    /// Of the supervisor and the router; taken by whoever waits for their end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a pool is doing; from [`Pool::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolState {
    /// It takes jobs.
    Open,
    /// It takes no more jobs and finishes those that it has.
    Closed,
    /// It was terminated.
    Terminated,
    /// Its workers could not be started; it was terminated for that.
    Broken,
}

impl Pool {
    pub(crate) fn from_parts(host: Arc<Host>, threads: Vec<JoinHandle<()>>) -> Pool {
        Pool { host, threads: Mutex::new(threads) }
    }

    // ---- submitting ------------------------------------------------------------------------------------------------

    /// Calls the task in a worker and waits for its result.
    ///
    /// # Errors
    ///
    /// The job's own failure (see [`ErrorKind`]); `Closed` if the pool was closed or terminated, `Broken` if its workers
    /// could not be started; `Encode` if the arguments cannot be serialized; `InvalidInput` for an option out of range.
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
        self.submit(task, args, true)?.get()
    }

    /// Submits a call of the task and returns its handle at once.
    ///
    /// It does not wait, unless the pool has a [`max_pending`](crate::PoolBuilder::max_pending) and that is reached.
    ///
    /// # Errors
    ///
    /// `Closed`, `Broken`, `Encode` and `InvalidInput` as for [`apply`](Pool::apply). How the job itself ends is for the
    /// handle to say.
    pub fn apply_async<T: Task>(&self, task: T, args: T::Args<'_>) -> Result<AsyncResult<T::Output>> {
        self.submit(task, args, false)
    }

    /// Little beyond what depends on the task.
    #[inline(always)]
    fn submit<T: Task>(&self, task: T, args: T::Args<'_>, urgent: bool) -> Result<AsyncResult<T::Output>> {
        let (args, raw) = encode_owned::<T>(args)?;
        let call = Call { entry: T::entry(), args, args_size: T::args_size(), raw };
        Ok(AsyncResult::new(Host::call(&self.host, call, task.options(), urgent)?, outcome::one::<T>))
    }

    /// Calls the task for each item and returns the results in the order of the items.
    ///
    /// Items travel in chunks whose size follows from the measured time per item; [`Task::chunk_size`] fixes it. A task
    /// of several arguments takes tuples. The iterator is pulled in this thread, so it may borrow.
    ///
    /// # Errors
    ///
    /// The failure of the failed item with the lowest index, after all the others have ended. For each item's own
    /// result there is [`map_results`](Pool::map_results). Else as [`apply`](Pool::apply).
    ///
    /// # Panics
    ///
    /// With the iterator's own panic, after the items before it have ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn count_words(text: &str) -> usize { text.split_whitespace().count() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let text = String::from("to be\nor not to be");
    /// assert_eq!(pool.map(count_words::Task, text.lines())?, [2, 4]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "starmap")]
    pub fn map<'a, T: Task, I>(&self, task: T, items: I) -> Result<Vec<T::Output>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.map_gathered(task, items)?.0.into_values()
    }

    /// As [`map`](Pool::map), with a result for each item: never fewer.
    ///
    /// # Errors
    ///
    /// Those of the submission, as for [`apply_async`](Pool::apply_async), and `Terminated` or `Broken` if the pool ends
    /// before all items were pulled from the iterator, since the others then have no result.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn half(x: u64) -> u64 { assert!(x % 2 == 0, "{x} is odd"); x / 2 }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let results = Pool::new(2)?.map_results(half::Task, [2, 3, 4])?;
    /// assert_eq!(results[0].as_ref().ok(), Some(&1));
    /// assert_eq!(results[1].as_ref().unwrap_err().item(), Some(1));
    /// # Ok(()) }
    /// ```
    pub fn map_results<'a, T: Task, I>(&self, task: T, items: I) -> Result<Vec<Result<T::Output>>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let (mut gathered, is_cut_off) = self.map_gathered(task, items)?;
        match gathered.take_rest().filter(|_| is_cut_off) {
            Some(error) => Err(error),
            None => Ok(gathered.into_results()),
        }
    }

    /// The results of what was pulled, and whether the pool ended before all of it was.
    fn map_gathered<'a, T: Task, I>(&self, task: T, items: I) -> Result<(Gathered<T>, bool)>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let items = items.into_iter();
        let mut gathered = Gathered::<T>::with_capacity(items.size_hint().0);
        let mut feed = MapInput::<T, _>::open(&self.host, JobSpec { bulk: true, ..self.spec(&task)? }, items)?;
        while !feed.has_ended() {
            feed.pull_to(feed.pulled() + MAP_STRIDE);
            gathered.take_in(&feed.completion);
        }
        while !feed.completion.is_finished() {
            feed.wait(None);
            gathered.take_in(&feed.completion);
        }
        gathered.finish(&feed.completion, feed.pulled());
        self.host.note_undecodable(gathered.undecodable());
        let is_cut_off = feed.was_cut_off();
        feed.resume_panic();
        Ok((gathered, is_cut_off))
    }

    /// Submits the task for each item and returns one handle for all results.
    ///
    /// The items are all taken from the iterator before this returns.
    ///
    /// # Errors
    ///
    /// Those of the submission, as for [`apply_async`](Pool::apply_async), except `Encode`: an item that cannot be
    /// serialized fails alone, and [`get`](AsyncResult::get) says so.
    ///
    /// # Panics
    ///
    /// With the iterator's own panic; the items before it are cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let squares = pool.map_async(square::Task, [1, 2, 3])?;
    /// pool.close();
    /// pool.join()?;
    /// assert_eq!(squares.get()?, [1, 4, 9]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "starmap_async")]
    pub fn map_async<'a, T: Task, I>(&self, task: T, items: I) -> Result<AsyncResult<Vec<T::Output>>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let mut feed =
            MapInput::<T, _>::open(&self.host, JobSpec { bulk: true, ..self.spec(&task)? }, items.into_iter())?;
        feed.pull_to(u64::MAX);
        feed.resume_panic();
        Ok(AsyncResult::new(feed.detach(), outcome::all::<T>))
    }

    /// Calls the task for each item and iterates over the results in the order of the items, as they come.
    ///
    /// The input is pulled as results are waited for, some thousand items ahead, so it may be endless; see [`Imap`] for
    /// how it is bounded. Nothing is pulled before the iterator is asked for its first result.
    ///
    /// # Errors
    ///
    /// Those of the submission, as for [`apply_async`](Pool::apply_async). The iterator yields each item's own result.
    /// Of an input that was not pulled to its end when the pool was closed *and joined*, or ended otherwise, the rest is
    /// a single error (`Closed`, `Terminated`, `Broken`), which stands for the first item that is lost.
    ///
    /// # Panics
    ///
    /// The iterator's `next` panics with the input's own panic, after the results of the items before it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(square::Task, 0..)?;
    /// assert_eq!(squares.next().transpose()?, Some(0));
    /// assert_eq!(squares.next_timeout(Duration::from_secs(60)).transpose()?, Some(1));
    /// # Ok(()) }
    /// ```
    pub fn imap<'a, T: Task, I>(&self, task: T, items: I) -> Result<Imap<T, I::IntoIter>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        Ok(Imap::new(MapInput::open(&self.host, JobSpec { lazy: true, ..self.spec(&task)? }, items.into_iter())?))
    }

    /// As [`imap`](Pool::imap), in the order in which results come.
    ///
    /// # Errors
    ///
    /// As [`imap`](Pool::imap).
    ///
    /// # Panics
    ///
    /// As [`imap`](Pool::imap).
    pub fn imap_unordered<'a, T: Task, I>(&self, task: T, items: I) -> Result<ImapUnordered<T, I::IntoIter>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        Ok(ImapUnordered::new(MapInput::open(
            &self.host,
            JobSpec { lazy: true, ..self.spec(&task)? },
            items.into_iter(),
        )?))
    }

    /// The terms of a list of items, before it is said how they come.
    fn spec<T: Task>(&self, task: &T) -> Result<JobSpec> {
        self.host.spec(T::entry(), task.options())
    }

    // ---- ending ----------------------------------------------------------------------------------------------------

    /// Takes no more jobs. Those that were submitted go on, and workers leave when all are done. Closing twice is fine.
    pub fn close(&self) {
        if self.host.check_owner().is_ok() {
            self.host.close();
        }
    }

    /// Waits until all jobs are done, all workers have left, and all callbacks have returned. Results stay readable. May be
    /// called again. In a callback or a waker it does not wait for callbacks, of which it would be one.
    ///
    /// It waits for no input of [`imap`](Pool::imap) to be pulled, since that may be up to this very thread: what has not
    /// been pulled by now is cut off. Take the results first.
    ///
    /// # Errors
    ///
    /// `Running` if the pool was neither closed nor terminated; it goes on as before.
    pub fn join(&self) -> Result<()> {
        self.check_closed()?;
        self.host.seal_lazy();
        self.wait_over(None);
        Ok(())
    }

    /// As [`join`](Pool::join), for at most `limit`.
    ///
    /// Inputs of [`imap`](Pool::imap) are cut off only when no item of the pool is pending, so if it is work that takes
    /// longer than the limit they go on, too.
    ///
    /// # Errors
    ///
    /// `Running` as for [`join`](Pool::join), and `Timeout` if work is left; it goes on.
    pub fn join_timeout(&self, limit: Duration) -> Result<()> {
        self.check_closed()?;
        self.host.begin_join();
        let is_over = self.wait_over(Instant::now().checked_add(limit));
        self.host.end_join();
        if is_over {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, format!("the pool is not done after {}; it goes on", units::time(limit))))
    }

    fn check_closed(&self) -> Result<()> {
        self.host.check_owner()?;
        if self.state() == PoolState::Open {
            return Err(Error::new(ErrorKind::Running, "the pool is open: close or terminate it before joining it"));
        }
        Ok(())
    }

    /// Waits for the end, which may have come just now.
    fn wait_over(&self, deadline: Option<Instant>) -> bool {
        self.host.nudge();
        self.host.wait_over(deadline) && self.join_threads(deadline)
    }

    /// Of a pool that is over; false if the deadline comes before all callbacks have returned.
    fn join_threads(&self, deadline: Option<Instant>) -> bool {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Nothing of the user's runs in supervisor and router, so this is neither of them, and both end by themselves.
            let _ = thread.join();
        }
        self.host.notifier.close(deadline)
    }

    /// Ends everything now: workers are killed, and every open handle completes with [`ErrorKind::Terminated`]. Results
    /// that have come stay readable. Terminating twice is fine. [`join`](Pool::join) waits until the processes are
    /// gone.
    pub fn terminate(&self) {
        if self.host.check_owner().is_ok() {
            self.host.terminate();
        }
    }

    // ---- asking ----------------------------------------------------------------------------------------------------
    // In a copy of the host, which has no workers, nothing is locked.

    /// What the pool is doing.
    pub fn state(&self) -> PoolState {
        match self.host.state() {
            State::Open => PoolState::Open,
            State::Closed => PoolState::Closed,
            State::Terminated => PoolState::Terminated,
            State::Broken => PoolState::Broken,
        }
    }

    /// How many workers the pool has, or is about to have.
    pub fn workers(&self) -> usize {
        self.host.workers()
    }

    /// The processes that there are at this moment: fewer than [`workers`](Pool::workers) while one is being replaced, and
    /// while workers have left for want of work ([`idle_timeout`](crate::PoolBuilder::idle_timeout)).
    pub fn worker_pids(&self) -> Vec<u32> {
        self.host.worker_pids()
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        self.host.stats()
    }

    /// Changes the number of workers. New ones are started at once; those too many leave when they have finished what
    /// they run, and what waited for them runs elsewhere.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for 0 or more than 4096 workers; `Closed` if the pool was closed or terminated, `Broken` if its
    /// workers could not be started.
    pub fn resize(&self, workers: usize) -> Result<()> {
        self.host.check_owner()?;
        check_workers(workers)?;
        self.host.resize(workers)
    }
}

/// Workers that a pool may have. Each takes one file descriptor in the host and one in the fork server, and up to 2 MiB of
/// shared memory if it has much to do.
const WORKERS_MAX: usize = 4096;

/// Checks a number of workers.
///
/// # Errors
///
/// `InvalidInput` for one that no pool can have.
pub(crate) fn check_workers(workers: usize) -> Result<usize> {
    let text = match workers {
        0 => "a pool needs at least 1 worker, and 0 were asked for".to_owned(),
        1..=WORKERS_MAX => return Ok(workers),
        _ => format!("a pool has at most {WORKERS_MAX} workers, and {workers} were asked for"),
    };
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// Items of a map that are taken in before results are looked at.
const MAP_STRIDE: u64 = 1 << 16;

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.host.owner.is_surely_here() {
            return;
        }
        self.terminate();
        self.host.wait_over(None);
        self.join_threads(None);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("state", &self.state()).field("workers", &self.workers()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Pool>();
};
