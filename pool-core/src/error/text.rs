//! An error as text, and as the errors of the standard library.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use super::{Error, ErrorKind, Repr};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { task, item, worker_pid, attempts, message, .. } = &*self.0;
        if let Some(task) = task {
            write!(f, "task `{task}`")?;
            if let Some(item) = item {
                write!(f, ", item {item}")?;
            }
            if let Some(pid) = worker_pid {
                write!(f, ", worker {pid}")?;
            }
            #[cfg(feature = "remote")]
            if let Some(host) = self.host() {
                write!(f, " on {host}")?;
            }
            if *attempts > 1 {
                write!(f, ", attempt {attempts}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(message)
    }
}

/// The sentence of [`Display`](fmt::Display), the fields that the case has, and the panic's backtrace.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { kind, task, item, worker_pid, exit_status, attempts, ran, panic, source, .. } = &*self.0;
        write!(f, "{self}")?;
        // An empty name makes the text begin with the space before the brace.
        let mut fields = f.debug_struct("");
        fields.field("kind", kind);
        if let Some(task) = task {
            fields.field("task", task);
        }
        if let Some(item) = item {
            fields.field("item", item);
        }
        if let Some(pid) = worker_pid {
            fields.field("worker_pid", pid);
        }
        #[cfg(feature = "remote")]
        if let Some(host) = self.host() {
            fields.field("host", &host);
        }
        if let Some(status) = exit_status {
            fields.field("exit_status", status);
        }
        if *attempts > 0 {
            fields.field("attempts", attempts);
        }
        if let Some(ran) = ran {
            fields.field("ran", ran);
        }
        // A source that is an error of this crate is part of the sentence already.
        if let Some(source) = source.as_ref().filter(|source| !source.is::<Error>()) {
            fields.field("source", source);
        }
        fields.finish()?;
        match panic.as_ref().and_then(|panic| panic.backtrace.as_deref()) {
            Some(backtrace) => write!(f, "\nbacktrace of the panic in the worker:\n{}", backtrace.trim_end()),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// For functions that return `io::Result`; `io::Error::get_ref` gives the pool's error back.
///
/// ```
/// use pool_core::prelude::*;
///
/// fn serve() -> std::io::Result<()> {
///     Pool::builder().workers(0).build()?;
///     Ok(())
/// }
///
/// # fn main() {
/// assert_eq!(serve().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
/// # }
/// ```
///
/// | kind | kind of the `io::Error` |
/// |---|---|
/// | `Timeout`, `TaskTimeout` | `TimedOut` |
/// | `MemoryLimit` | `OutOfMemory` |
/// | `InvalidInput` | `InvalidInput` |
/// | `Encode`, `Decode`, `Protocol` | `InvalidData` |
/// | `TooLarge` | `FileTooLarge` |
/// | `Unreachable` | `HostUnreachable` |
/// | `Unsupported` | `Unsupported` |
/// | `Full` | `WouldBlock` |
/// | `Running` | `ResourceBusy` |
/// | `Closed`, `Broken` | `BrokenPipe` |
/// | `Terminated` | `ConnectionAborted` |
/// | `System` | that of its source |
/// | `Panicked`, `WorkerDied`, `Cancelled` | `Other`; not `Interrupted`, which readers and writers take for "call again" |
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        // The cause's own kind says more than any that stands for all system calls.
        let of_system = || StdError::source(&error)?.downcast_ref::<io::Error>().map(io::Error::kind);
        let kind = match error.kind() {
            ErrorKind::System => of_system().unwrap_or(io::ErrorKind::Other),
            kind => kind.io_kind(),
        };
        io::Error::new(kind, error)
    }
}
