//! The kinds of errors: their names, their retries, and their counterparts in `std::io`.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// The kinds of [`Error`](crate::Error).
///
/// The text of a kind is a phrase such as `time limit exceeded`; that of the error says more.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn parse(text: &str) -> u32 { text.parse().unwrap() }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(1)?;
/// let number = match pool.apply(parse::Task.timeout(Duration::from_secs(10)), "seven") {
///     Ok(number) => number,
///     Err(error) => match error.kind() {
///         ErrorKind::Panicked => 0,
///         ErrorKind::TaskTimeout | ErrorKind::WorkerDied => 1,
///         _ => return Err(error),
///     },
/// };
/// assert_eq!(number, 0);
/// assert_eq!(ErrorKind::TaskTimeout.to_string(), "time limit exceeded");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument of the call itself is out of range, such as 0 workers.
    InvalidInput,
    /// The pool has been closed or terminated and takes no more jobs.
    Closed,
    /// As many items or bytes are pending as may be ([`max_pending`](crate::PoolBuilder::max_pending),
    /// [`max_pending_bytes`](crate::PoolBuilder::max_pending_bytes)), and the submission was not to wait.
    Full,
    /// `join` of a pool that was neither closed nor terminated.
    Running,
    /// A wait reached its limit; the job goes on.
    Timeout,
    /// An item ran longer than its task's limit and was killed.
    TaskTimeout,
    /// The function panicked. If the panic aborted the worker (`panic = "abort"`, or a panic while another unwinds),
    /// [`exit_status`](crate::Error::exit_status) says so, and [`retries`](crate::Task::retries) treat it as a death.
    Panicked,
    /// The worker died while it ran the item, and not of a panic: by a signal, or by an exit with any code, 0 included.
    WorkerDied,
    /// An allocation went past the worker's memory limit.
    MemoryLimit,
    /// The job was cancelled.
    Cancelled,
    /// The pool was terminated or dropped before the job was done.
    Terminated,
    /// An argument or a result could not be encoded.
    Encode,
    /// An argument or a result could not be decoded.
    Decode,
    /// Memory that the pool shares would be larger than a limit of the system allows, such as that on files
    /// (RLIMIT_FSIZE). A value that is too long is [`Encode`](ErrorKind::Encode).
    TooLarge,
    /// A worker overwrote the memory that it shares with the host, so its replies make no sense. The error goes to the
    /// oldest item that this worker had not answered: usually, but not always, the one that did it.
    Protocol,
    /// The pool could not start workers and has ended; the text says why.
    Broken,
    /// This system, or this program, cannot do it.
    Unsupported,
    /// A system call failed; the source is the `std::io::Error`.
    System,
    /// The machines on which a pool's workers are could not be reached, or not in time (feature `remote`).
    Unreachable,
}

impl ErrorKind {
    /// All of them, in their order.
    pub(crate) const ALL: [ErrorKind; 19] = [
        ErrorKind::InvalidInput,
        ErrorKind::Closed,
        ErrorKind::Full,
        ErrorKind::Running,
        ErrorKind::Timeout,
        ErrorKind::TaskTimeout,
        ErrorKind::Panicked,
        ErrorKind::WorkerDied,
        ErrorKind::MemoryLimit,
        ErrorKind::Cancelled,
        ErrorKind::Terminated,
        ErrorKind::Encode,
        ErrorKind::Decode,
        ErrorKind::TooLarge,
        ErrorKind::Protocol,
        ErrorKind::Broken,
        ErrorKind::Unsupported,
        ErrorKind::System,
        ErrorKind::Unreachable,
    ];
    pub(crate) const COUNT: usize = ErrorKind::ALL.len();

    pub(super) fn is_retryable(self) -> bool {
        // Without a wildcard, so that a new kind has to be thought about.
        match self {
            ErrorKind::Full
            | ErrorKind::Timeout
            | ErrorKind::TaskTimeout
            | ErrorKind::WorkerDied
            | ErrorKind::MemoryLimit
            | ErrorKind::Protocol
            | ErrorKind::System
            | ErrorKind::Unreachable => true,
            ErrorKind::InvalidInput
            | ErrorKind::Closed
            | ErrorKind::Running
            | ErrorKind::Panicked
            | ErrorKind::Cancelled
            | ErrorKind::Terminated
            | ErrorKind::Encode
            | ErrorKind::Decode
            | ErrorKind::TooLarge
            | ErrorKind::Broken
            | ErrorKind::Unsupported => false,
        }
    }

    /// The counterpart in `std::io`, unless the error has an `io::Error` of its own as its source.
    pub(super) fn io_kind(self) -> io::ErrorKind {
        match self {
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::Closed | ErrorKind::Broken => io::ErrorKind::BrokenPipe,
            ErrorKind::Terminated => io::ErrorKind::ConnectionAborted,
            ErrorKind::Full => io::ErrorKind::WouldBlock,
            ErrorKind::Running => io::ErrorKind::ResourceBusy,
            ErrorKind::Timeout | ErrorKind::TaskTimeout => io::ErrorKind::TimedOut,
            ErrorKind::MemoryLimit => io::ErrorKind::OutOfMemory,
            ErrorKind::Encode | ErrorKind::Decode | ErrorKind::Protocol => io::ErrorKind::InvalidData,
            ErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
            ErrorKind::Unreachable => io::ErrorKind::HostUnreachable,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            // Not `Interrupted` for a cancelled job: readers and writers of the standard library would call again.
            ErrorKind::Cancelled | ErrorKind::Panicked | ErrorKind::WorkerDied | ErrorKind::System => {
                io::ErrorKind::Other
            }
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ErrorKind::InvalidInput => "invalid input",
            ErrorKind::Closed => "pool closed",
            ErrorKind::Full => "no room",
            ErrorKind::Running => "pool not closed",
            ErrorKind::Timeout => "wait timed out",
            ErrorKind::TaskTimeout => "time limit exceeded",
            ErrorKind::Panicked => "task panicked",
            ErrorKind::WorkerDied => "worker died",
            ErrorKind::MemoryLimit => "memory limit exceeded",
            ErrorKind::Cancelled => "job cancelled",
            ErrorKind::Terminated => "pool terminated",
            ErrorKind::Encode => "encoding failed",
            ErrorKind::Decode => "decoding failed",
            ErrorKind::TooLarge => "too large",
            ErrorKind::Protocol => "protocol violated",
            ErrorKind::Broken => "pool broken",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::System => "system call failed",
            ErrorKind::Unreachable => "machine unreachable",
        })
    }
}
