//! The pool as the handle of a job sees it: a narrow door, so that a completion knows neither engine nor lock.

use std::fmt;
use std::thread::Thread;
use std::time::Instant;

use crate::error::Result;
use crate::job::waiters::Callback;
use crate::process::fork_check::ForkCheck;
use crate::scheduler::JobId;

/// The pool that a completion belongs to. Handles ask it only where they have to wait or change something.
pub(crate) trait Owner: fmt::Debug + Send + Sync + 'static {
    /// # Errors
    ///
    /// `Unsupported` in a copy of the host, where locks of the pool may be held for good by threads that the copy lacks.
    fn check_owner(&self) -> Result<()>;

    /// The process of the pool.
    fn process(&self) -> ForkCheck;

    /// Waits until `ready`; false if the deadline comes first, or in a copy of the host, where it will never be.
    /// `register` has the thread unparked when it should look again.
    fn wait(
        &self,
        deadline: Option<Instant>,
        ready: &mut dyn FnMut() -> bool,
        register: &mut dyn FnMut(Thread),
    ) -> bool;

    /// Takes in the replies that are there, unless another thread is about to.
    fn take_replies(&self);

    /// Ends a call of this number, or a whole job; false if it had ended.
    fn cancel(&self, job: JobId, call: Option<u64>) -> bool;

    /// Announces a callback, which the pool's end waits for from now on.
    fn expect_callback(&self);

    /// Runs an announced callback in a thread that is there for the user's code.
    fn run_callback(&self, callback: Callback);

    /// Workers of the job that hold reports back look whether they may go on.
    fn resume_reports(&self, job: JobId);

    /// Counts results that were taken for values and could not be decoded.
    fn note_undecodable(&self, results: u32);
}

/// Whether both are the same pool.
pub(crate) fn is_same(one: &dyn Owner, other: &dyn Owner) -> bool {
    // By address alone: there may be several method tables of one type.
    std::ptr::addr_eq(one, other)
}
