//! How commands begin and end: the pool that they work with, their verdict, and the failures that end them early.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pool_core::{ErrorKind, Pool, PoolBuilder};

use crate::render::reason;

/// How a command ended that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    AllWell,
    /// A step differed from its expectation, or a file could not be read; the user has been told.
    NotAll,
}

impl Verdict {
    pub(crate) fn all_well_if(is_all_well: bool) -> Self {
        if is_all_well { Verdict::AllWell } else { Verdict::NotAll }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::AllWell => ExitCode::SUCCESS,
            Verdict::NotAll => ExitCode::FAILURE,
        }
    }
}

/// Why a command could not come to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Writing to standard output failed.
    Output(io::Error),
    /// A file or directory without which the command has nothing to do.
    Path(PathBuf, io::Error),
    /// The command line asks for something that cannot be.
    Usage(String),
    Pool(pool_core::Error),
}

impl Failure {
    /// True if the reader of the output has left, as `head` does. That is no error.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            _ if self.is_broken_pipe() => ExitCode::SUCCESS,
            // Such as more workers than a pool may have: the command line was wrong.
            Failure::Pool(error) if error.kind() == ErrorKind::InvalidInput => ExitCode::from(2),
            Failure::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Output(error) => write!(f, "standard output: {}", reason(error)),
            Failure::Path(path, error) => write!(f, "{}: {}", path.display(), reason(error)),
            Failure::Usage(text) => f.write_str(text),
            Failure::Pool(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<pool_core::Error> for Failure {
    fn from(error: pool_core::Error) -> Self {
        Failure::Pool(error)
    }
}

/// Whether the other files still have a chance.
pub(crate) fn concerns_one_file(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Broken | ErrorKind::Closed | ErrorKind::Terminated | ErrorKind::System)
}

/// Writes the text of a command that has no other output.
pub(crate) fn print(text: &[u8]) -> Result<Verdict, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(Verdict::AllWell)
}

/// A pool of so many workers, or as many as CPUs; `ps` shows it as `name`. Its timeline goes to `trace`.
pub(crate) fn pool(workers: Option<usize>, name: &str, trace: Option<&Path>) -> Result<Pool, Failure> {
    Ok(builder(workers, name, trace)?.build()?)
}

/// The same, for a pool with further options.
pub(crate) fn builder(workers: Option<usize>, name: &str, trace: Option<&Path>) -> Result<PoolBuilder, Failure> {
    let mut builder = Pool::builder().name(name);
    if let Some(workers) = workers {
        builder = builder.workers(workers);
    }
    if let Some(path) = trace {
        // The pool takes no relative path, since its program may change its directory. This one does not.
        builder = builder.trace(std::path::absolute(path)?);
    }
    Ok(builder)
}
