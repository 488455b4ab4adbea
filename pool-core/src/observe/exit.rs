//! How a worker's process ended, and why.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::process::death::Death;
use crate::scheduler::ExitReason;
use crate::units::{self, Nanos};

/// The end of a process as it is remembered: without text, which is made when somebody asks.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) incarnation: u32,
    pub(crate) at: Nanos,
    pub(crate) reason: ExitReason,
    pub(crate) death: Death,
}

/// Why the process of a worker ended.
///
/// Its text is a phrase that follows the worker: `killed by signal 11 (SIGSEGV)`, `left after its share of items`.
/// A thread ([`in_process`](crate::PoolBuilder::in_process)) that "the pool killed" was told to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum ExitCause {
    /// It died, mostly of the item that it ran: by a signal, or by an exit with any code. The text says how.
    Died(String),
    /// The pool killed it: its item had run for longer than its [time limit](crate::Task::timeout).
    TimedOut {
        /// The time limit of the item.
        limit: Duration,
        /// How long the item had run.
        ran: Duration,
    },
    /// The pool killed it: the item that it ran was cancelled.
    Cancelled,
    /// The pool killed it: its initializer failed, or took too long.
    NotReady,
    /// The pool killed it: it did not begin the work that it was sent.
    Unresponsive,
    /// The pool killed it: it wrote over the memory that it shares with the host.
    Corrupt,
    /// The pool killed it: told to leave, it was still there past the time limit of its
    /// [finalizer](crate::PoolBuilder::finalizer), or after 10 s if it has none.
    Stayed {
        /// The time limit of leaving.
        limit: Duration,
        /// How long it had been leaving.
        ran: Duration,
    },
    /// The pool was terminated.
    Terminated,
    /// It left: it has had its share of items ([`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker)).
    ShareDone,
    /// It left: its memory has grown too large ([`max_worker_rss`](crate::PoolBuilder::max_worker_rss)).
    Grown,
    /// It left: there was nothing to do ([`idle_timeout`](crate::PoolBuilder::idle_timeout)).
    Idle,
    /// It left: the pool has [shrunk](crate::Pool::resize).
    Resized,
    /// It left: the pool was closed, and all jobs were done.
    Closed,
}

impl ExitCause {
    /// True if the process did not leave by itself when it was told to: it died or was killed.
    pub fn is_death(&self) -> bool {
        !matches!(
            self,
            ExitCause::ShareDone | ExitCause::Grown | ExitCause::Idle | ExitCause::Resized | ExitCause::Closed
        )
    }
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Words that are true of threads, too, which nobody can kill.
        f.pad(match self {
            ExitCause::Died(how) => how,
            ExitCause::TimedOut { limit, ran } => {
                let [limit, ran] = [limit, ran].map(|time| units::time(*time));
                return f.pad(&format!("exceeded its limit of {limit} after {ran}"));
            }
            ExitCause::Stayed { limit, ran } => {
                let [limit, ran] = [limit, ran].map(|time| units::time(*time));
                return f.pad(&format!("exceeded its limit of {limit} for leaving after {ran}"));
            }
            ExitCause::Cancelled => "ended, since its item was cancelled",
            ExitCause::NotReady => "ended, since its initializer failed",
            ExitCause::Unresponsive => "ended, since it did not begin its work",
            ExitCause::Corrupt => "ended, since it wrote over the memory that it shares with the host",
            ExitCause::Terminated => "ended, since the pool was terminated",
            ExitCause::ShareDone => "left after its share of items",
            ExitCause::Grown => "left, since its memory had grown too large",
            ExitCause::Idle => "left, since there was nothing to do",
            ExitCause::Resized => "left, since the pool has shrunk",
            ExitCause::Closed => "left, since the pool was closed",
        })
    }
}

impl Exit {
    /// The cause in words. `memory_limit` is that of the pool's workers.
    pub(crate) fn cause(&self, memory_limit: Option<u64>) -> ExitCause {
        match self.reason {
            // The words of the error that its item gets.
            ExitReason::Died => ExitCause::Died(Error::of_death(&self.death, memory_limit).to_string()),
            ExitReason::TimedOut { limit, ran } => {
                ExitCause::TimedOut { limit: Duration::from_nanos(limit), ran: Duration::from_nanos(ran) }
            }
            ExitReason::Cancelled => ExitCause::Cancelled,
            ExitReason::NotReady => ExitCause::NotReady,
            ExitReason::Unresponsive => ExitCause::Unresponsive,
            ExitReason::Corrupt => ExitCause::Corrupt,
            ExitReason::Stayed { limit, ran } => {
                ExitCause::Stayed { limit: Duration::from_nanos(limit), ran: Duration::from_nanos(ran) }
            }
            ExitReason::Terminated => ExitCause::Terminated,
            ExitReason::ShareDone => ExitCause::ShareDone,
            ExitReason::Grown => ExitCause::Grown,
            ExitReason::Idle => ExitCause::Idle,
            ExitReason::Resized => ExitCause::Resized,
            ExitReason::Closed => ExitCause::Closed,
        }
    }
}
