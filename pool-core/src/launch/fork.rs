//! The one place that forks.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// The two sides of a fork.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Child,
    Parent(Pid),
}

/// Forks the calling process, so that wait(2) does not report the child, unless it is asked to by `__WALL`: code of the user's that
/// waits for all of its children must not wait for this one. The child may call async-signal-safe functions alone, whatever
/// threads the process has, and must not return.
pub(crate) fn fork_unreported() -> nix::Result<Side> {
    // SAFETY:
    // - without flags and without a stack it is fork(2) that sends no signal at its end, see clone(2);
    // - the caller keeps the child to async-signal-safe functions.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) })? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(pid as i32))),
    }
}

/// Forks the calling process. The child may go on only if the process has one thread. Buffered output must have been written
/// before, or both processes write it.
pub(crate) fn fork() -> nix::Result<Side> {
    // SAFETY:
    // - the callers make sure that the process has one thread, so the child may do all that the parent may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}
