//! Workers on other machines: the interface for crates that bring a pool's items there (feature `remote`).
//!
//! A pool with a [`Backend`] has no processes. Its workers are threads that hand items to a [`Link`] and wait for their outcomes. On
//! another machine a program with the same tasks takes them, and a [`Runner`] runs them in an ordinary pool there.

use crate::error::{Error, ErrorKind};
mod form;
pub(crate) mod keys;
mod names;
mod runner;

pub use self::runner::Runner;
pub use crate::wire::{
    Array, Backend, Failure, HostInsights, HostWorker, Limits, Link, Outcome, Place, Reply, Request, Stop, TaskKey,
};

/// An error of this kind, for a [`Link`] and its like.
///
/// # Examples
///
/// ```
/// use pool_core::{ErrorKind, remote};
///
/// let error = remote::error(ErrorKind::Unreachable, "redis://10.0.0.7: connection refused");
/// assert!(error.is_retryable());
/// ```
pub fn error(kind: ErrorKind, text: impl Into<String>) -> Error {
    Error::new(kind, text)
}
