//! The making of errors: by kind, by the end of a worker, and field by field.

use std::error::Error as StdError;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Error, ErrorKind, Repr};
use crate::process::panic::PanicReport;
use crate::units;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Repr {
            kind,
            message: message.into(),
            task: None,
            item: None,
            worker_pid: None,
            exit_status: None,
            attempts: 0,
            ran: None,
            panic: None,
            undecodable: 0,
            source: None,
        }))
    }

    pub(crate) fn system(doing: &str, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let (kind, hint) = match error.raw_os_error() {
            Some(libc::ENOSYS) => (ErrorKind::Unsupported, "; Linux 5.3 or later is needed"),
            Some(libc::EMFILE) => (ErrorKind::System, "; a pool needs a descriptor for each worker, see `ulimit -n`"),
            _ => (ErrorKind::System, ""),
        };
        Error::new(kind, format!("{doing}: {error}{hint}")).with_source(error)
    }

    /// The error of memory that could not be shared; `whose` begins with "of" or "for".
    pub(crate) fn memory(whose: &str, error: pool_ipc::Error) -> Self {
        let doing = format!("shared memory {whose}");
        match error {
            pool_ipc::Error::System { call, source } => Error::system(&format!("{doing}: {call}"), source),
            pool_ipc::Error::FileLimit { .. } | pool_ipc::Error::Memory { .. } | pool_ipc::Error::TooLarge { .. } => {
                Error::new(ErrorKind::TooLarge, format!("{doing}: {error}")).with_source(error)
            }
            _ => Error::new(ErrorKind::System, format!("{doing}: {error}")).with_source(error),
        }
    }

    pub(crate) fn panicked(report: PanicReport) -> Self {
        let mut error = Error::new(ErrorKind::Panicked, report.to_string());
        error.0.panic = Some(report);
        error
    }

    /// The error of a worker that a panic has aborted.
    pub(crate) fn panicked_to_death(status: ExitStatus, report: PanicReport) -> Self {
        let mut error = Error::worker_died(status, Some(&report.to_string())).with_panic(report);
        error.0.kind = ErrorKind::Panicked;
        error
    }

    /// The error of a worker that ended with `status`, and with the note that it may have left.
    pub(crate) fn worker_died(status: ExitStatus, note: Option<&str>) -> Self {
        let mut message = describe_end(status);
        if let Some(note) = note {
            message = format!("{note} ({message})");
        }
        Error::new(ErrorKind::WorkerDied, message).with_exit_status(status)
    }

    /// The error of a worker that was killed by a SIGKILL; `sender` is as much as is known.
    pub(crate) fn worker_killed(status: ExitStatus, sender: &str) -> Self {
        let message = format!("{}, {sender}", describe_end(status));
        Error::new(ErrorKind::WorkerDied, message).with_exit_status(status)
    }

    /// The error of a worker that ended for a cause that its status does not tell.
    pub(crate) fn worker_lost(status: ExitStatus, cause: &str) -> Self {
        let mut error = Error::new(ErrorKind::WorkerDied, cause);
        error.0.exit_status = Some(status);
        error
    }

    /// The error of a worker that died when an allocation failed.
    pub(crate) fn out_of_memory(status: ExitStatus, limit: Option<u64>) -> Self {
        let limit = limit.map_or_else(|| "a limit".to_owned(), units::size);
        let mut error = Error::worker_died(status, Some(&format!("needed more than {limit}")));
        error.0.kind = ErrorKind::MemoryLimit;
        error
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(std::sync::Arc::new(source));
        self
    }

    #[must_use]
    pub(crate) fn with_panic(mut self, report: PanicReport) -> Self {
        self.0.panic = Some(report);
        self
    }

    #[must_use]
    pub(crate) fn with_exit_status(mut self, status: ExitStatus) -> Self {
        self.0.exit_status = Some(status);
        self
    }

    #[must_use]
    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    #[must_use]
    pub(crate) fn with_ran(mut self, ran: Option<Duration>) -> Self {
        self.0.ran = ran;
        self
    }

    #[must_use]
    pub(crate) fn with_undecodable(mut self, results: u32) -> Self {
        self.0.undecodable = results;
        self
    }

    pub(crate) fn undecodable(&self) -> u32 {
        self.0.undecodable
    }

    #[must_use]
    pub(crate) fn of_task(mut self, path: String) -> Self {
        self.0.task = Some(path);
        self
    }

    #[must_use]
    pub(crate) fn of_item(mut self, item: Option<usize>) -> Self {
        self.0.item = item;
        self
    }

    #[must_use]
    pub(crate) fn in_worker(mut self, pid: u32) -> Self {
        self.0.worker_pid = Some(pid);
        self
    }

    /// A copy, for the next job that this error ends.
    pub(crate) fn duplicate(&self) -> Self {
        Error(self.0.clone())
    }
}

fn describe_end(status: ExitStatus) -> String {
    match status.signal() {
        Some(number) => {
            let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
            format!("killed by signal {number} ({name})")
        }
        None => format!("exited with code {}", status.code().unwrap_or(-1)),
    }
}
