//! The end of a pool: close, join, terminate, drop.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Pool, PoolState};
use crate::error::{Error, ErrorKind, Result};
use crate::units;

impl Pool {
    /// Takes no more jobs.
    ///
    /// Jobs that were submitted go on, and workers leave when all are done. Submissions that wait for room
    /// ([`max_pending`](crate::PoolBuilder::max_pending)) end in [`ErrorKind::Closed`]. Closing twice is fine.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let job = pool.apply_async(square::Task, 3)?;
    /// pool.close();
    /// assert_eq!(pool.apply(square::Task, 4).unwrap_err().kind(), ErrorKind::Closed);
    /// assert_eq!(job.get()?, 9);
    /// # Ok(()) }
    /// ```
    pub fn close(&self) {
        if self.host.check_owner().is_ok() {
            self.host.close();
        }
    }

    /// Cancels all items that no worker has begun, of all jobs, and returns how many these are.
    ///
    /// They end in [`ErrorKind::Cancelled`]: calls at once, the items of a map when its running items have ended, which
    /// go on and deliver their values. None of them is pending any more, so they take no
    /// [room](crate::PoolBuilder::max_pending). Items that wait for a [retry](crate::Task::retries) are among them. Inputs of
    /// [`imap`](Pool::imap) are pulled no more, and a rest of them is one `Cancelled` error (so a
    /// [report of what was not done](crate::guide::shutting_down#what-was-not-done) counts what is done); a [`map`](Pool::map) that
    /// another thread is submitting goes on with the rest of its input. The pool stays open, so this can be used to drop a backlog; to end in
    /// peace and soon, [`close`](Pool::close) first and [`join`](Pool::join) afterwards. 0 in a process that the program
    /// forked.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let jobs: Vec<_> = (0..10).map(|_| pool.apply_async(nap::Task, 20)).collect::<Result<_, _>>()?;
    /// let cancelled = pool.cancel_pending();
    /// let errors = jobs.into_iter().filter_map(|job| job.get().err());
    /// assert_eq!(errors.filter(|error| error.kind() == ErrorKind::Cancelled).count() as u64, cancelled);
    /// assert_eq!(pool.apply(nap::Task, 1)?, 1);
    /// # Ok(()) }
    /// ```
    pub fn cancel_pending(&self) -> u64 {
        if self.host.check_owner().is_ok() { self.host.cancel_pending() } else { 0 }
    }

    /// Waits until all jobs are done, all workers have left, and all callbacks have returned.
    ///
    /// Results stay readable. It may be called again, and by several threads. In a callback or a waker it does not wait
    /// for callbacks, since it would wait for itself.
    ///
    /// It does not wait for inputs of [`imap`](Pool::imap), since this very thread may be the one that pulls them: items
    /// that have not been pulled by now are cut off. Take the results first.
    ///
    /// # Errors
    ///
    /// `Running` if the pool was neither closed nor terminated; it goes on as before. `Unsupported` in a worker of this very pool, if
    /// that is a thread ([`in_process`](crate::PoolBuilder::in_process)): it would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.join().unwrap_err().kind(), ErrorKind::Running);
    /// let job = pool.apply_async(square::Task, 3)?;
    /// pool.close();
    /// pool.join()?;
    /// assert!(pool.worker_pids().is_empty());
    /// assert_eq!(job.get()?, 9);
    /// # Ok(()) }
    /// ```
    pub fn join(&self) -> Result<()> {
        self.check_closed()?;
        // This very thread may be the one that iterates, and would wait for itself.
        self.host.seal_lazy();
        self.wait_over(None);
        Ok(())
    }

    /// As [`join`](Pool::join), for at most `limit`.
    ///
    /// Inputs of [`imap`](Pool::imap) are cut off only when no item of the pool is pending. So if the limit passes because
    /// work takes longer, they go on, too.
    ///
    /// # Errors
    ///
    /// `Running` as for [`join`](Pool::join), and `Timeout` if work is left; it goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn nap(ms: u64) { std::thread::sleep(Duration::from_millis(ms)) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(nap::Task, 60_000)?;
    /// pool.close();
    /// if pool.join_timeout(Duration::from_millis(10)).is_err() {
    ///     pool.terminate();
    /// }
    /// assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
    /// # Ok(()) }
    /// ```
    pub fn join_timeout(&self, limit: Duration) -> Result<()> {
        self.check_closed()?;
        self.host.begin_join();
        // A limit too large for the clock means no limit.
        let is_over = self.wait_over(Instant::now().checked_add(limit));
        self.host.end_join();
        if is_over {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, format!("the pool is not done after {}; it goes on", units::time(limit))))
    }

    fn check_closed(&self) -> Result<()> {
        self.host.check_wait()?;
        if self.state() == PoolState::Open {
            return Err(Error::new(ErrorKind::Running, "the pool is open: close or terminate it before joining it"));
        }
        Ok(())
    }

    /// Waits for the end; false if the deadline comes first. The supervisor is nudged, since the last worker may have
    /// left already.
    fn wait_over(&self, deadline: Option<Instant>) -> bool {
        self.host.nudge();
        self.host.wait_over(deadline) && self.join_threads(deadline)
    }

    /// Joins the threads of a pool that is over; false if the deadline comes before all callbacks have returned.
    fn join_threads(&self, deadline: Option<Instant>) -> bool {
        // Taken by the first caller, since a thread can be joined only once.
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Supervisor and router run none of the user's code, so the calling thread is neither, and both end by
            // themselves.
            let _ = thread.join();
        }
        // Readers first: a listener may still submit callbacks.
        self.host.readers.wait(deadline) && self.host.notifier.close(deadline)
    }

    /// Ends everything now.
    ///
    /// Workers are killed, and every open handle completes with [`ErrorKind::Terminated`]. Results that have come stay
    /// readable. Terminating twice is fine. It does not wait; [`join`](Pool::join) waits until the processes are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn hang() { std::thread::sleep(Duration::from_secs(600)) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let job = pool.apply_async(hang::Task, ())?;
    /// pool.terminate();
    /// assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
    /// pool.join()
    /// # }
    /// ```
    pub fn terminate(&self) {
        if self.host.check_owner().is_ok() {
            self.host.terminate();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // In a copy of the host the threads do not exist, and the processes belong to the original.
        if !self.host.owner.is_surely_here() {
            return;
        }
        // Killed and not finished: a drop must end, and pending work may never do.
        self.terminate();
        // The pool ends when the item of this thread has returned, and that waits for this drop.
        if self.host.is_worker_here() {
            return;
        }
        self.host.wait_over(None);
        self.join_threads(None);
    }
}
