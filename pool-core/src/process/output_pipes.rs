//! The pipes through which the standard output and standard error of a process go to its host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdout, pipe2};
use pool_ipc::sys::off_standard_streams;

/// The end of a pipe that is read, which never waits, and the one that is written.
///
/// # Errors
///
/// As pipe(2).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    // The reader alone: programs do not expect a standard output that refuses to wait.
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((off_standard_streams(reader)?, off_standard_streams(writer)?))
}

/// One end of each of the two pipes.
#[derive(Debug)]
pub(crate) struct OutputPipes {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl OutputPipes {
    /// The ends that are read, which never wait, and those that are written.
    ///
    /// # Errors
    ///
    /// As pipe(2).
    pub(crate) fn make() -> io::Result<(OutputPipes, OutputPipes)> {
        let (stdout, stderr) = (pipe()?, pipe()?);
        let readers = OutputPipes { stdout: stdout.0, stderr: stderr.0 };
        Ok((readers, OutputPipes { stdout: stdout.1, stderr: stderr.1 }))
    }

    /// The next two descriptors of a message.
    pub(crate) fn from_fds(fds: &mut impl Iterator<Item = OwnedFd>) -> Option<OutputPipes> {
        Some(OutputPipes { stdout: fds.next()?, stderr: fds.next()? })
    }

    pub(crate) fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.stdout.as_fd(), self.stderr.as_fd()]
    }

    /// Has this process write to these pipes from now on.
    pub(crate) fn become_standard_streams(self) {
        // Both are valid, and the numbers of the standard streams can always be had.
        // By `dup2`, which clears close-on-exec: the programs that a task starts are to print there, too.
        let _ = dup2_stdout(&self.stdout);
        let _ = dup2_stderr(&self.stderr);
    }
}
