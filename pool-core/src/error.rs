//! The one error type of the crate. Like `std::io::Error` it has a [`kind`](Error::kind) to match on, the facts of the case,
//! and a text for people.

mod death;
mod kind;
#[cfg(feature = "remote")]
mod remote;
mod text;
pub(crate) mod told;

use std::error::Error as StdError;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

pub use self::kind::ErrorKind;
use crate::process::panic::PanicReport;
use crate::units;

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
// Boxed, so that a `Result` of a small value stays small: results travel by value through each layer.
pub struct Error(Box<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    message: String,
    task: Option<String>,
    item: Option<usize>,
    worker_pid: Option<u32>,
    #[cfg(feature = "remote")]
    host: Option<String>,
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
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Repr {
            kind,
            message: message.into(),
            task: None,
            item: None,
            worker_pid: None,
            #[cfg(feature = "remote")]
            host: None,
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
            // The usual cause in a program that is otherwise right, and the number alone does not tell it.
            Some(libc::EMFILE) => (ErrorKind::System, "; a pool needs a descriptor for each worker, see `ulimit -n`"),
            _ => (ErrorKind::System, ""),
        };
        Error::new(kind, format!("{doing}: {error}{hint}")).with_source(error)
    }

    /// The error of memory that could not be shared; `object` begins with "of" or "for".
    pub(crate) fn memory(object: &str, error: pool_ipc::Error) -> Self {
        let doing = format!("shared memory {object}");
        match error {
            pool_ipc::Error::System { call, source } => Error::system(&format!("{doing}: {call}"), source),
            // A limit of this process, which a user can raise; not a failure of the system.
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
        // The panic explains the death, and is the kind that users match on.
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

    /// The kind of failure, to match on.
    ///
    /// # Examples
    ///
    /// See [`ErrorKind`].
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The task that failed, as `module::function`. `None` if the failure concerns no task.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn fail() { panic!("on purpose") }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let error = Pool::new(1)?.apply(fail::Task, ()).unwrap_err();
    /// assert!(error.task().unwrap().ends_with("fail"));
    /// # Ok(()) }
    /// ```
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The process that ran, or was to run, the item. `None` if no worker had a part in the failure, or the job was ended
    /// as a whole.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn abort() { std::process::abort() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let error = Pool::new(1)?.apply(abort::Task, ()).unwrap_err();
    /// let pid = error.worker_pid().unwrap();
    /// assert!(error.to_string().contains(&format!("worker {pid}: killed by signal 6")));
    /// # Ok(()) }
    /// ```
    pub fn worker_pid(&self) -> Option<u32> {
        self.0.worker_pid
    }

    /// The index of the failed item in the input of its map. `None` for a single call, and for a map that failed as a
    /// whole: cancelled, or ended with its pool, before an item of it had failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn half(x: u64) -> u64 { assert!(x % 2 == 0); x / 2 }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let error = Pool::new(2)?.map(half::Task, [2, 4, 5]).unwrap_err();
    /// assert_eq!(error.item(), Some(2));
    /// # Ok(()) }
    /// ```
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// The message of the panic. `None` if the failure is no panic.
    ///
    /// # Examples
    ///
    /// See [`location`](Error::location).
    pub fn panic_message(&self) -> Option<&str> {
        self.0.panic.as_ref().map(|panic| panic.message.as_str())
    }

    /// Where the panic happened, as `file:line:column`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn fail() { panic!("on purpose") }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let error = Pool::new(1)?.apply(fail::Task, ()).unwrap_err();
    /// assert_eq!(error.panic_message(), Some("on purpose"));
    /// assert!(error.location().is_some_and(|location| location.contains(".rs:")));
    /// # Ok(()) }
    /// ```
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
    /// use std::os::unix::process::ExitStatusExt;
    ///
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
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn abort() { std::process::abort() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let error = Pool::new(1)?.apply(abort::Task.retries(2), ()).unwrap_err();
    /// assert_eq!(error.attempts(), 3);
    /// assert!(error.to_string().contains("attempt 3: killed by signal 6"));
    /// # Ok(()) }
    /// ```
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
    /// | [`System`](ErrorKind::System) | yes | the system may have more processes, descriptors or memory later |
    /// | [`Unreachable`](ErrorKind::Unreachable) | yes | the other machines may be reached again later |
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

fn describe_end(status: ExitStatus) -> String {
    match status.signal() {
        Some(number) => {
            let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
            format!("killed by signal {number} ({name})")
        }
        None => format!("exited with code {}", status.code().unwrap_or(-1)),
    }
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Error>();
    assert!(size_of::<Option<Error>>() == size_of::<usize>(), "results stay as small as their values");
};

#[cfg(test)]
mod tests;
