//! One error type, as `std::io::Error`: a [`kind`](Error::kind) to match on, the facts of the case, and a text for
//! people.

use std::error::Error as StdError;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::panic::PanicReport;
use crate::quantity;
use crate::table::Entry;

/// The result of a pool's operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a job, or an operation of the pool, did not succeed.
///
/// Its text names the task, the item of a map, the worker and what happened:
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

#[derive(Clone, Debug)]
struct Repr {
    kind: ErrorKind,
    message: String,
    task: Option<String>,
    item: Option<usize>,
    worker_pid: Option<u32>,
    exit_status: Option<ExitStatus>,
    panic: Option<PanicReport>,
    source: Option<std::sync::Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument of the call itself is out of range, such as 0 workers.
    InvalidInput,
    /// The pool has been closed or terminated and takes no more jobs.
    Closed,
    /// `join` of a pool that was neither closed nor terminated.
    Running,
    /// A wait reached its limit; what was waited for goes on.
    Timeout,
    /// An item ran longer than its task's limit and was killed.
    TaskTimeout,
    /// The function panicked.
    Panicked,
    /// The worker died while it ran the item, in whichever way: a signal, or an exit with any code, 0 included.
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
    /// Something is larger than a limit allows.
    TooLarge,
    /// A worker wrote what no worker writes. It concerns the oldest item that this worker had not answered, as far as
    /// can be told: usually the one that did it.
    Protocol,
    /// The pool cannot start workers any more.
    Broken,
    /// Something that this system or program cannot do.
    Unsupported,
    /// A system call failed; the source is the `std::io::Error`.
    System,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Repr {
            kind,
            message: message.into(),
            task: None,
            item: None,
            worker_pid: None,
            exit_status: None,
            panic: None,
            source: None,
        }))
    }

    pub(crate) fn system(doing: &str, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        let (kind, hint) = match error.raw_os_error() {
            Some(libc::ENOSYS) => (ErrorKind::Unsupported, "; Linux 5.3 or later is needed"),
            Some(libc::EMFILE) => (ErrorKind::System, "; a pool needs a descriptor for each worker, see `ulimit -n`"),
            _ => (ErrorKind::System, ""),
        };
        Error::new(kind, format!("{doing}: {error}{hint}")).with_source(error)
    }

    /// Of memory that could not be shared; `whose` begins with "of" or "for".
    pub(crate) fn memory(whose: &str, error: pool_ipc::Error) -> Self {
        let doing = format!("shared memory {whose}");
        match error {
            pool_ipc::Error::System { call, source } => Error::system(&format!("{doing}: {call}"), source),
            pool_ipc::Error::FileLimit { .. } => {
                Error::new(ErrorKind::TooLarge, format!("{doing}: {error}")).with_source(error)
            }
            _ => Error::new(ErrorKind::System, format!("{doing}: {error}")).with_source(error),
        }
    }

    pub(crate) fn panicked(report: PanicReport) -> Self {
        let at = report.location.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        let mut error = Error::new(ErrorKind::Panicked, format!("panicked{at}: {}", report.message));
        error.0.panic = Some(report);
        error
    }

    /// Of a worker that is gone: by `status`, with the note that it may have left.
    pub(crate) fn worker_died(status: ExitStatus, note: Option<&str>) -> Self {
        let mut message = match status.signal() {
            Some(number) => describe_signal(number),
            None => format!("exited with code {}", status.code().unwrap_or(-1)),
        };
        if let Some(note) = note {
            message = format!("{note} ({message})");
        }
        let mut error = Error::new(ErrorKind::WorkerDied, message);
        error.0.exit_status = Some(status);
        error
    }

    /// Of a worker that is gone for a cause that its status does not tell.
    pub(crate) fn worker_lost(status: ExitStatus, cause: &str) -> Self {
        let mut error = Error::new(ErrorKind::WorkerDied, cause);
        error.0.exit_status = Some(status);
        error
    }

    /// Of a worker that died when an allocation failed.
    pub(crate) fn out_of_memory(status: ExitStatus, limit: Option<u64>) -> Self {
        let limit = limit.map_or_else(|| "a limit".to_owned(), quantity::size);
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
    pub(crate) fn of_task(mut self, task: &Entry) -> Self {
        self.0.task = Some(format!("{}::{}", task.module(), task.name()));
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

    /// The same error once more, for the next job that it ends.
    pub(crate) fn duplicate(&self) -> Self {
        Error(self.0.clone())
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The task whose call failed, as `module::function`.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The process that ran, or was to run, the call.
    pub fn worker_pid(&self) -> Option<u32> {
        self.0.worker_pid
    }

    /// The index of the failed item in the input of its map; `None` for a single call.
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// What the panic said.
    pub fn panic_message(&self) -> Option<&str> {
        self.0.panic.as_ref().map(|panic| panic.message.as_str())
    }

    /// Where the panic happened, as `file:line:column`.
    pub fn location(&self) -> Option<&str> {
        self.0.panic.as_ref()?.location.as_deref()
    }

    /// The worker's stack at the panic, if `RUST_BACKTRACE` was set in its environment.
    pub fn backtrace(&self) -> Option<&str> {
        self.0.panic.as_ref()?.backtrace.as_deref()
    }

    /// How the worker ended: by which signal or with which exit code.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.exit_status
    }
}

fn describe_signal(number: i32) -> String {
    let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
    let hint = if number == libc::SIGKILL { ", possibly out of memory" } else { "" };
    format!("killed by signal {number} ({name}){hint}")
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::other(error)
    }
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Error>();
};
