//! The reason why an item has no value, on its way from the machine where it ran.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::process::panic::PanicReport;

/// The reason why an item has no value: an [`Error`] without the task and the item, which the caller knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    kind: ErrorKind,
    message: String,
    host: Option<String>,
    worker_pid: Option<u32>,
    /// As wait(2) gives it.
    exit_status: Option<i32>,
    ran: Option<Duration>,
    panic: Option<PanicReport>,
}

impl Failure {
    /// A failure that no worker has had.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
            host: None,
            worker_pid: None,
            exit_status: None,
            ran: None,
            panic: None,
        }
    }

    /// Names the machine where the item ran; see [`Error::host`].
    #[must_use]
    pub fn at(self, host: impl Into<String>) -> Failure {
        Failure { host: Some(host.into()), ..self }
    }

    pub(crate) fn saying(self, text: impl FnOnce(&str) -> String) -> Failure {
        Failure { message: text(&self.message), ..self }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text of the error.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn ran(&self) -> Option<Duration> {
        self.ran
    }

    /// That of an error, without its task and item.
    pub fn of(error: &Error) -> Failure {
        Failure {
            kind: error.kind(),
            message: error.message().to_owned(),
            host: error.host().map(str::to_owned),
            worker_pid: error.worker_pid(),
            exit_status: error.exit_status().map(ExitStatusExt::into_raw),
            ran: error.ran(),
            panic: error.panic().cloned(),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        let Failure { kind, message, host, worker_pid, exit_status, ran, panic } = self;
        let mut error = Error::new(kind, message).with_ran(ran);
        if let Some(host) = host {
            error = error.at_host(host);
        }
        if let Some(pid) = worker_pid {
            error = error.in_worker(pid);
        }
        if let Some(status) = exit_status {
            error = error.with_exit_status(ExitStatus::from_raw(status));
        }
        match panic {
            Some(report) => error.with_panic(report),
            None => error,
        }
    }
}
