//! A submission as a future: it waits for room without a thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::{Error, ErrorKind, Result};
use crate::handle::AsyncResult;
use crate::host::Host;
use crate::host::turn::Turn;
use crate::job::blocks::Call;
use crate::job::completion::Completion;
use crate::scheduler::JobSpec;

/// A call that is submitted when there is room for it; from [`Pool::submit`](crate::Pool::submit).
///
/// It is a [`Future`] for any executor, and its output is the handle of the job. It stands in line from its first poll on.
/// When room comes, that is reserved for it until it is polled again or dropped. Dropped before it was ready it submits
/// nothing, and makes room for the next in line.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// async fn sum(pool: &Pool) -> pool_core::Result<u64> {
///     let mut jobs = Vec::new();
///     for x in 0..1000 {
///         // Waits while as many items are pending as may be.
///         jobs.push(pool.submit(square::Task, x).await?);
///     }
///     let mut sum = 0;
///     for job in jobs {
///         sum += job.await?;
///     }
///     Ok(sum)
/// }
/// # fn main() {}
/// ```
#[must_use = "it submits nothing unless it is awaited"]
pub struct Submit<R> {
    turn: Turn,
    /// `None` once it has been submitted.
    call: Option<Call>,
    spec: JobSpec,
    /// The reason why there is no call, to be given at the first poll.
    refused: Option<Error>,
    collect: fn(&Completion) -> Result<R>,
}

impl<R> Submit<R> {
    /// Makes a submission of `call` with its options; an error is given at the first poll.
    pub(crate) fn new(host: &Arc<Host>, call: Result<(Call, JobSpec)>, collect: fn(&Completion) -> Result<R>) -> Self {
        // An error is kept for the first poll: `submit` itself returns no result.
        let (call, spec, refused) = match call {
            Ok((call, spec)) => (Some(call), spec, None),
            Err(error) => (None, JobSpec::default(), Some(error)),
        };
        Submit { turn: Turn::new(host), call, spec, refused, collect }
    }
}

impl<R> Future for Submit<R> {
    type Output = Result<AsyncResult<R>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Submit { turn, call, spec, refused, collect } = &mut *self;
        // At each poll: the process may have been forked since the last one.
        if let Err(error) = turn.check_owner() {
            return Poll::Ready(Err(error));
        }
        if let Some(error) = refused.take() {
            return Poll::Ready(Err(error));
        }
        if call.is_none() {
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidInput, "the call has been submitted already")));
        }
        let outcome = turn.poll_call(*spec, call, context.waker());
        outcome.map(|outcome| Ok(AsyncResult::new(outcome?, *collect)))
    }
}

impl<R> fmt::Debug for Submit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("is_submitted", &self.call.is_none()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn check<T: Send + Unpin + 'static>() {}
    check::<Submit<std::rc::Rc<()>>>();
};
