//! The parts of an error that concern other machines.

use super::{Error, ErrorKind};
use crate::process::panic::PanicReport;

impl Error {
    /// The machine on which the item ran, if the pool's workers are [on other machines](crate::remote) and it is known.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # fn main() {
    /// let error = Pool::new(0).unwrap_err();
    /// assert_eq!(error.host(), None);
    /// # }
    /// ```
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    #[must_use]
    pub(crate) fn at_host(mut self, host: String) -> Self {
        self.0.host = Some(host);
        self
    }

    /// The text without the task, the item and the worker.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the item has cost a worker, or was lost on the way, so that [`retries`](crate::Task::retries) try it again.
    pub(crate) fn is_loss(&self) -> bool {
        // A panic that has aborted its worker is a death.
        self.is_retryable() || self.kind() == ErrorKind::Panicked && self.exit_status().is_some()
    }

    pub(crate) fn panic(&self) -> Option<&PanicReport> {
        self.0.panic.as_ref()
    }
}
