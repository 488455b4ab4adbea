//! Waiting for several jobs at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::AsyncResult;
use crate::error::Result;
use crate::job::owner::is_same;
use crate::job::waiters::{CompletionQueue, Waiter};

/// Waits until one of the jobs has an outcome, for at most `limit`, and returns its index.
///
/// `None` if the limit comes first, if there are no jobs, or in a process that the host has forked. If several jobs have
/// outcomes it is the lowest index. No limit means that it waits as long as it takes.
///
/// The jobs may belong to different pools. Then the thread looks at the others every 5 ms, since it can sleep in one pool
/// only.
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
    // The thread sleeps in the first job's pool; if there are others it looks there in between.
    let owner = jobs.first()?.owner();
    let is_one_pool = jobs.iter().all(|job| is_same(job.owner(), owner));
    let (queue, mut is_registered) = (Arc::<CompletionQueue>::default(), false);
    while find().is_none() {
        // A thread that sleeps in one pool is not woken by replies in another, so it looks there from time to time.
        let glance = (!is_one_pool).then(|| Instant::now() + GLANCE);
        let until = [deadline, glance].into_iter().flatten().min();
        let mut register = |thread| {
            queue.set_thread(thread);
            // Once is enough: the registrations stay until their jobs end.
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
        // Else each call would leave registrations behind in jobs that are waited for again and again.
        jobs.iter().filter(|job| !job.ready()).for_each(|job| job.completion.forget(&queue));
    }
    find()
}

/// Registers all jobs with the queue: each pushes its index when it ends.
fn register_all<'j, R: 'j>(jobs: impl Iterator<Item = &'j AsyncResult<R>>, queue: &Arc<CompletionQueue>) {
    for (index, job) in jobs.enumerate() {
        job.expect_no_listener();
        if job.is_here() && job.completion.set_waiter(Waiter::OneOf(Arc::clone(queue), index)).is_err() {
            queue.push(index);
        }
    }
}

/// Iterates over the outcomes of the jobs as they come, each with the job's index in the input.
///
/// The jobs may belong to different pools, as for [`wait_any`].
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
///
/// # Examples
///
/// See [`as_completed`].
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct AsCompleted<R> {
    jobs: Vec<Option<AsyncResult<R>>>,
    left: usize,
    /// Jobs below this index have been handed out.
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
            // One error for each job, so that the iterator still yields as many outcomes as jobs.
            if let Err(error) = job.owner().check_owner() {
                self.left -= 1;
                self.jobs[self.first] = None;
                return Some((self.first, Err(error)));
            }
            // The queue keeps the order in which jobs ended, which the jobs themselves do not tell.
            if let Some(index) = self.queue.pop() {
                self.left -= 1;
                return self.jobs[index].take().map(|job| (index, job.get()));
            }
            // A thread that sleeps in one pool is not woken by replies in another, so it looks there from time to time.
            let glance = (!self.is_one_pool).then(|| Instant::now() + GLANCE);
            job.owner().wait(glance, &mut || !self.queue.is_empty(), &mut |thread| self.queue.set_thread(thread));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

/// The interval at which a thread that waits in one pool looks at other pools.
const GLANCE: Duration = Duration::from_millis(5);
