//! The options that ride on a task.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::priority::Priority;
use crate::units::{Nanos, nanos};

/// Options of a task, as its attribute or a call sets them. The pool's apply where one is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) retry_panics: bool,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) prefetch: Option<usize>,
    pub(crate) priority: Priority,
    pub(crate) max_concurrent: Option<usize>,
    pub(crate) label: Option<&'static str>,
    pub(crate) seed: Option<u64>,
    pub(crate) reports: bool,
    /// No item is begun twice, not even one that was begun by a worker that died for another reason.
    pub(crate) once: bool,
    pub(crate) grace: Option<Duration>,
}

impl TaskOptions {
    // Constants and `const fn`, since the macro builds the options of an attribute in a static.

    /// No option set.
    pub const NONE: TaskOptions = TaskOptions {
        timeout: None,
        retries: None,
        retry_panics: false,
        chunk_size: None,
        prefetch: None,
        priority: Priority::Normal,
        max_concurrent: None,
        label: None,
        seed: None,
        reports: false,
        once: false,
        grace: None,
    };

    /// With the attribute's `timeout`.
    #[must_use]
    pub const fn with_timeout(self, nanoseconds: u64) -> Self {
        TaskOptions { timeout: Some(Duration::from_nanos(nanoseconds)), ..self }
    }

    /// With the attribute's `grace`.
    #[must_use]
    pub const fn with_grace(self, nanoseconds: u64) -> Self {
        TaskOptions { grace: Some(Duration::from_nanos(nanoseconds)), ..self }
    }

    /// With the attribute's `retries`.
    #[must_use]
    pub const fn with_retries(self, retries: u32) -> Self {
        TaskOptions { retries: Some(retries), ..self }
    }

    /// With the attribute's `retry_panics`.
    #[must_use]
    pub const fn with_retry_panics(self) -> Self {
        TaskOptions { retry_panics: true, ..self }
    }

    /// With the attribute's `prefetch`.
    #[must_use]
    pub const fn with_prefetch(self, items: usize) -> Self {
        TaskOptions { prefetch: Some(items), ..self }
    }

    /// With the attribute's `priority`.
    #[must_use]
    pub const fn with_priority(self, priority: Priority) -> Self {
        TaskOptions { priority, ..self }
    }

    /// With the attribute's `reports`.
    #[must_use]
    pub const fn with_reports(self) -> Self {
        TaskOptions { reports: true, ..self }
    }

    /// Whether an option is zero that must be at least 1.
    #[inline]
    pub(crate) fn has_zero(&self) -> bool {
        self.chunk_size == Some(0) || self.prefetch == Some(0) || self.max_concurrent == Some(0)
    }

    /// The time limit for the scheduler.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of zero.
    #[inline]
    pub(crate) fn timeout_ns(&self) -> Result<Option<Nanos>> {
        // Zero means "no limit" in the ring's header, so it must not get there.
        if self.timeout == Some(Duration::ZERO) {
            let text = "a time limit of zero leaves no time to run";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(self.timeout.map(nanos))
    }
}
