//! The one error type of the crate. Like `std::io::Error` it has a [`kind`](Error::kind) to match on, the facts of the case,
//! and a text for people.

mod constructors;
mod kind;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

pub use self::kind::ErrorKind;
use crate::process::panic::PanicReport;

/// The result of a pool's operation.
pub type Result<T> = std::result::Result<T, Error>;

/// The failure of a job, or of an operation of the pool.
///
/// Its text names the task, the item of a map, the worker and the cause. `{:?}`, which `unwrap` and a `main` that
/// returns it print, is the same text, then the fields, then the panic's backtrace if there is one.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn exit_with(code: i32) { std::process::exit(code) }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(1)?;
/// let error = pool.apply(exit_with::Task, 3).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WorkerDied);
/// assert_eq!(error.exit_status().and_then(|status| status.code()), Some(3));
/// assert!(error.to_string().ends_with("exited with code 3"));
/// # Ok(()) }
/// ```
pub struct Error(Box<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    message: String,
    task: Option<String>,
    item: Option<usize>,
    worker_pid: Option<u32>,
    exit_status: Option<ExitStatus>,
    attempts: u32,
    ran: Option<Duration>,
    panic: Option<PanicReport>,
    /// Results, this one included, that could not be decoded in the caller's process. Their items had been counted as
    /// successes, so the count is put right by this number.
    undecodable: u32,
    source: Option<std::sync::Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// The kind of failure, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The task whose call failed, as `module::function`. `None` if the failure concerns no task.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The process that ran, or was to run, the item. `None` if no worker had a part in the failure, or the job was ended
    /// as a whole.
    pub fn worker_pid(&self) -> Option<u32> {
        self.0.worker_pid
    }

    /// The index of the failed item in the input of its map. `None` for a single call, and for a map that failed as a
    /// whole: cancelled, or ended with its pool, before an item of it had failed.
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// The message of the panic. `None` if the failure is no panic.
    pub fn panic_message(&self) -> Option<&str> {
        self.0.panic.as_ref().map(|panic| panic.message.as_str())
    }

    /// Where the panic happened, as `file:line:column`.
    pub fn location(&self) -> Option<&str> {
        self.0.panic.as_ref()?.location.as_deref()
    }

    /// The worker's stack at the panic, if `RUST_BACKTRACE` was set in its environment. `{:?}` shows it, too.
    pub fn backtrace(&self) -> Option<&str> {
        self.0.panic.as_ref()?.backtrace.as_deref()
    }

    /// The signal or exit code that ended the worker. After a time limit that is SIGKILL, sent by the pool itself, unless
    /// the worker ended before.
    ///
    /// `None` if the worker lives, if no worker had a part in the failure, or if its end is not known yet: a job that is
    /// cancelled or terminated fails before its worker is dead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    ///     ///
    /// #[pool_task]
    /// fn abort() { std::process::abort() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let error = Pool::new(1)?.apply(abort::Task, ()).unwrap_err();
    /// assert_eq!(error.exit_status().and_then(|status| status.signal()), Some(6));
    /// # Ok(()) }
    /// ```
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.exit_status
    }

    /// The number of attempts at the item: one, and one more for each of its [`retries`](crate::Task::retries) that was used.
    ///
    /// 0 if the error concerns no attempt: a submission that was refused, a wait, a job that was cancelled or ended
    /// with its pool, a result that could not be decoded in the caller's process.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The time that the last attempt ran, if it is known.
    ///
    /// It is known of an item with a time limit, and of an item that panicked and was a call, or the first of its chunk. Of
    /// others the clock was not read when they began, since that would cost more than short items do.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn hang() { loop { std::thread::park() } }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let limit = Duration::from_millis(50);
    /// let error = Pool::new(1)?.apply(hang::Task.timeout(limit), ()).unwrap_err();
    /// assert!(error.ran().is_some_and(|ran| ran >= limit));
    /// # Ok(()) }
    /// ```
    pub fn ran(&self) -> Option<Duration> {
        self.0.ran
    }

    /// Whether the same call, with the same arguments, may succeed if it is made again in this pool.
    ///
    /// | kind | retryable | reason |
    /// |---|---|---|
    /// | [`Timeout`](ErrorKind::Timeout) | yes | the job goes on: wait again, do not submit again |
    /// | [`Full`](ErrorKind::Full) | yes | there is room again when an item has ended |
    /// | [`TaskTimeout`](ErrorKind::TaskTimeout), [`WorkerDied`](ErrorKind::WorkerDied), [`MemoryLimit`](ErrorKind::MemoryLimit), [`Protocol`](ErrorKind::Protocol) | yes | the next worker is a fresh one; [`Task::retries`](crate::Task::retries) tries these again |
    /// | [`System`](ErrorKind::System) | yes | the system may have later what it lacked: processes, descriptors, memory |
    /// | [`Panicked`](ErrorKind::Panicked) | no | a function panics of its arguments, as a rule; [`Task::retry_panics`](crate::Task::retry_panics) is for the others |
    /// | [`Encode`](ErrorKind::Encode), [`Decode`](ErrorKind::Decode), [`TooLarge`](ErrorKind::TooLarge), [`InvalidInput`](ErrorKind::InvalidInput), [`Unsupported`](ErrorKind::Unsupported) | no | the same would be wrong again |
    /// | [`Cancelled`](ErrorKind::Cancelled) | no | the program asked for it |
    /// | [`Closed`](ErrorKind::Closed), [`Terminated`](ErrorKind::Terminated), [`Broken`](ErrorKind::Broken) | no | this pool takes no more jobs |
    /// | [`Running`](ErrorKind::Running) | no | close or terminate the pool first |
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn exit() { std::process::exit(1) }
    ///
    /// #[pool_task]
    /// fn fail() { panic!("on purpose") }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// assert!(pool.apply(exit::Task, ()).unwrap_err().is_retryable());
    /// assert!(!pool.apply(fail::Task, ()).unwrap_err().is_retryable());
    /// # Ok(()) }
    /// ```
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { task, item, worker_pid, message, .. } = &*self.0;
        if let Some(task) = task {
            write!(f, "task `{task}`")?;
            if let Some(item) = item {
                write!(f, ", item {item}")?;
            }
            if let Some(pid) = worker_pid {
                write!(f, ", worker {pid}")?;
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
/// | `Unsupported` | `Unsupported` |
/// | `Full` | `WouldBlock` |
/// | `Running` | `ResourceBusy` |
/// | `Closed`, `Broken` | `BrokenPipe` |
/// | `Terminated` | `ConnectionAborted` |
/// | `System` | that of its source |
/// | `Panicked`, `WorkerDied`, `Cancelled` | `Other`; not `Interrupted`, which readers and writers take for "call again" |
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let of_system = || StdError::source(&error)?.downcast_ref::<io::Error>().map(io::Error::kind);
        let kind = match error.kind() {
            ErrorKind::System => of_system().unwrap_or(io::ErrorKind::Other),
            kind => kind.io_kind(),
        };
        io::Error::new(kind, error)
    }
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Error>();
    assert!(size_of::<Option<Error>>() == size_of::<usize>(), "results stay as small as their values");
};

#[cfg(test)]
mod tests;
