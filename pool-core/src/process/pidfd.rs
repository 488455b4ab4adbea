//! Processes by their descriptors: waiting for their ends, and ending them.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use pool_ipc::sys::pidfd_send_signal;

/// Time between two looks where there is no waiting: a process that has forbidden itself descriptors (RLIMIT_NOFILE of
/// 0) is refused `poll`, too.
pub(crate) const POLL_PAUSE: Duration = Duration::from_millis(5);

/// See waitpid(2).
pub(crate) fn reap(pid: Pid, flags: WaitPidFlag) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(pid, Some(flags)) {
            Err(Errno::EINTR) => {}
            reaped => return reaped,
        }
    }
}

/// Kills a process that may be gone. False if the kernel refuses: a process that has given up rights cannot kill processes
/// that it started before.
#[must_use]
pub(crate) fn kill_process(pidfd: BorrowedFd<'_>, pid: Pid) -> bool {
    // `kill` is for sandboxes without the first call. The process was alive just before, so the pid is still its own.
    pidfd_send_signal(pidfd, libc::SIGKILL).is_ok()
        || wait_gone(pidfd, 0)
        || matches!(kill(pid, Signal::SIGKILL), Ok(()) | Err(Errno::ESRCH))
}

/// Whether the process is gone in time; a zombie is.
pub(crate) fn wait_gone(pidfd: BorrowedFd<'_>, limit_ms: u16) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::from(limit_ms)) {
            Err(Errno::EINTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => break,
        }
    }
    // `poll` is refused: RLIMIT_NOFILE of 0 forbids that, but not `waitid`.
    let is_gone = || match waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
    {
        Ok(status) => status != WaitStatus::StillAlive,
        // Not a child of this process.
        Err(_) => pidfd_send_signal(pidfd, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)),
    };
    (0..=limit_ms).any(|_| {
        let is_gone = is_gone();
        if !is_gone {
            thread::sleep(Duration::from_millis(1));
        }
        is_gone
    })
}
