//! The handle of a job that was submitted without waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::host::notifier::run_in_copy;
use crate::job::batch::CompletionRef;
use crate::job::completion::Completion;
use crate::job::owner::{Owner, is_same};
use crate::job::waiters::{CompletionQueue, Waiter};
use crate::units;

/// The outcome of a job, some day: of one call ([`Pool::apply_async`](crate::Pool::apply_async)), or of a whole list
/// ([`Pool::map_async`](crate::Pool::map_async)).
///
/// It always completes: in a value, or in an [`Error`] that says why there is none. That holds for a worker that dies,
/// a pool that is terminated, and a pool that is dropped. It stays readable after [`Pool::join`](crate::Pool::join).
///
/// Any number of threads may wait for it, beside the task that awaits it. In a process that the host forks it is of no
/// use: there each outcome is an [`ErrorKind::Unsupported`] error, at once.
///
/// Dropping it does not stop the job; [`cancel`](AsyncResult::cancel) does. It is a [`Future`], for any executor. Its
/// waker is woken in a thread of the pool that is there for the user's code alone, so it may panic, block, use the pool
/// or drop it:
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
    /// Makes the value of what the completion holds when it is finished; gone when it has.
    collect: Option<fn(&Completion) -> Result<R>>,
}

impl<R> AsyncResult<R> {
    pub(crate) fn new(completion: CompletionRef, collect: fn(&Completion) -> Result<R>) -> Self {
        AsyncResult { completion, collect: Some(collect) }
    }

    fn owner(&self) -> &dyn Owner {
        self.completion.owner()
    }

    /// Whether this is the host, and not a copy of it. There the locks of the pool may be held for good, by threads that
    /// the copy does not have.
    #[inline]
    fn is_here(&self) -> bool {
        self.owner().check_owner().is_ok()
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
        self.owner().check_owner()?;
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
        self.owner().check_owner()?;
        if !self.wait_timeout(limit) {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("no outcome after {}; the job goes on", units::time(limit)),
            ));
        }
        self.collect_and_stay()
    }

    /// Waits for the outcome.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits for the outcome for at most `limit`; whether there is one.
    #[must_use]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        // A limit that no clock can hold is none.
        self.wait_until(Instant::now().checked_add(limit))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.completion.is_finished() {
            return true;
        }
        let mut is_registered = false;
        let mut register = |thread| is_registered |= self.completion.set_waiter(Waiter::AtEnd(thread)).is_ok();
        let is_finished = self.owner().wait(deadline, &mut || self.completion.is_finished(), &mut register);
        if is_registered && !is_finished {
            self.completion.forget_this_thread();
        }
        is_finished
    }

    /// Whether there is an outcome.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.completion.is_finished()
    }

    /// Whether the outcome is a value; `None` while there is none, and in a process that the host has forked.
    ///
    /// The value is decoded for that, once more than for [`get`](AsyncResult::get): one that cannot be is none.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        let is_value = |collect: fn(&Completion) -> Result<R>| collect(&self.completion.copy()).is_ok();
        let is_success = || self.completion.is_success() && self.collect.is_none_or(is_value);
        (self.is_here() && self.ready()).then(is_success)
    }

    /// Ends the job now with [`ErrorKind::Cancelled`], unless it has an outcome: false then.
    ///
    /// What waits is dropped, and what runs is killed, with its worker, which is replaced. Other jobs are not
    /// disturbed, except that one which this worker began in that very moment may run a second time, elsewhere.
    pub fn cancel(&self) -> bool {
        !self.ready()
            && self.owner().check_owner().is_ok()
            && self.owner().cancel(self.completion.job(), self.completion.call())
    }

    /// Calls `callback` once with the outcome, as soon as there is one.
    ///
    /// It runs in a thread that is there for the user's code alone. It may take its time, block, panic, use the pool, drop
    /// it, or wait for another callback: as many threads are made as there are callbacks that block, up to what the system
    /// allows (`ulimit -u`, the control group's `pids.max`, `kernel.threads-max`, half of `vm.max_map_count`). Beyond
    /// that, callbacks wait until a thread is free.
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
        if let Err(error) = self.owner().check_owner() {
            return run_in_copy(Box::new(move || callback(Err(error))));
        }
        self.owner().expect_callback();
        let (from, collect) = (self.completion.clone(), self.collect.take());
        let run = Waiter::Callback(Box::new(move || callback(collect_from(&from, collect))));
        if let Err(Waiter::Callback(run)) = self.completion.set_waiter(run) {
            self.owner().run_callback(run);
        }
    }

    fn collect(&mut self) -> Result<R> {
        collect_from(&self.completion, self.collect.take())
    }

    /// As [`collect`](AsyncResult::collect), where the handle may still be asked something afterwards.
    fn collect_and_stay(&mut self) -> Result<R> {
        let was_there = self.collect.is_some();
        let result = self.collect();
        if let Some(error) = result.as_ref().err().filter(|_| was_there) {
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

/// What nobody will take makes room, though other completions of the batch may stay.
impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        if !self.is_here() {
            // Another thread may have been changing the completion when this copy was made, so it is never taken apart here.
            std::mem::forget(self.completion.clone());
        } else if self.collect.is_some() {
            self.completion.abandon();
        }
    }
}

impl<R> Future for AsyncResult<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = self.owner().check_owner() {
            return Poll::Ready(Err(error));
        }
        if self.completion.poll(context.waker()) { Poll::Ready(self.collect_and_stay()) } else { Poll::Pending }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

/// Waits until one of the jobs has an outcome, for at most `limit`, and returns its index.
///
/// `None` if the limit comes first, if there are no jobs, or in a process that the host has forked. Of several, it is the first. The jobs may be of different
/// pools only if their number is small: each pool is then looked at in turn.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let jobs = [pool.apply_async(nap::Task, 30_000)?, pool.apply_async(nap::Task, 1)?];
/// assert_eq!(pool_core::wait_any(&jobs, None), Some(1));
/// # Ok(()) }
/// ```
#[doc(alias = "wait")]
pub fn wait_any<R>(jobs: &[AsyncResult<R>], limit: Option<Duration>) -> Option<usize> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let find = || jobs.iter().position(AsyncResult::ready);
    let owner = jobs.first()?.owner();
    let is_one_pool = jobs.iter().all(|job| is_same(job.owner(), owner));
    let (queue, mut is_registered) = (Arc::<CompletionQueue>::default(), false);
    while find().is_none() {
        // The leader of one pool does not hear of another's replies, so it looks up from time to time.
        let glance = (!is_one_pool).then(|| Instant::now() + GLANCE);
        let until = [deadline, glance].into_iter().flatten().min();
        let mut register = |thread| {
            queue.set_thread(thread);
            if !std::mem::replace(&mut is_registered, true) {
                register_all(jobs.iter(), &queue);
            }
        };
        owner.wait(until, &mut || find().is_some(), &mut register);
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) || owner.check_owner().is_err() {
            break;
        }
    }
    if is_registered {
        jobs.iter().filter(|job| !job.ready()).for_each(|job| job.completion.forget(&queue));
    }
    find()
}

/// Has the jobs' numbers pushed as they end.
fn register_all<'j, R: 'j>(jobs: impl Iterator<Item = &'j AsyncResult<R>>, queue: &Arc<CompletionQueue>) {
    for (index, job) in jobs.enumerate() {
        if job.is_here() && job.completion.set_waiter(Waiter::OneOf(Arc::clone(queue), index)).is_err() {
            queue.push(index);
        }
    }
}

/// Iterates over the outcomes of the jobs as they come, each with the job's index.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let jobs = [pool.apply_async(nap::Task, 300)?, pool.apply_async(nap::Task, 1)?];
/// let order: Vec<usize> = pool_core::as_completed(jobs).map(|(index, _)| index).collect();
/// assert_eq!(order, [1, 0]);
/// # Ok(()) }
/// ```
pub fn as_completed<R>(jobs: impl IntoIterator<Item = AsyncResult<R>>) -> AsCompleted<R> {
    let queue = Arc::new(CompletionQueue::default());
    let jobs: Vec<_> = jobs.into_iter().map(Some).collect();
    register_all(jobs.iter().flatten(), &queue);
    let mut pools = jobs.iter().flatten().map(AsyncResult::owner);
    let is_one_pool = pools.next().is_none_or(|first| pools.all(|pool| is_same(pool, first)));
    AsCompleted { left: jobs.len(), jobs, first: 0, is_one_pool, queue }
}

/// Iterator over outcomes in the order in which they come; made by [`as_completed`].
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct AsCompleted<R> {
    jobs: Vec<Option<AsyncResult<R>>>,
    left: usize,
    /// All jobs before this one have been handed out.
    first: usize,
    is_one_pool: bool,
    queue: Arc<CompletionQueue>,
}

impl<R> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.first += self.jobs[self.first..].iter().position(Option::is_some)?;
            let job = self.jobs[self.first].as_ref()?;
            if let Err(error) = job.owner().check_owner() {
                self.left -= 1;
                self.jobs[self.first] = None;
                return Some((self.first, Err(error)));
            }
            if let Some(index) = self.queue.pop() {
                self.left -= 1;
                return self.jobs[index].take().map(|job| (index, job.get()));
            }
            // Whoever leads in one pool does not hear of another's replies, so it looks up from time to time.
            let glance = (!self.is_one_pool).then(|| Instant::now() + GLANCE);
            job.owner().wait(glance, &mut || !self.queue.is_empty(), &mut |thread| self.queue.set_thread(thread));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

/// How often other pools than the one that is waited in are looked at.
const GLANCE: Duration = Duration::from_millis(5);
