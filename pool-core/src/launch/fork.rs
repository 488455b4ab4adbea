//! The one place that forks.

#![allow(unsafe_code)]

use nix::unistd::{ForkResult, Pid};

/// What a forked process finds itself to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Child,
    Parent(Pid),
}

/// Forks the calling process. Safe to go on in the child only if this process has one thread; what the parent buffered
/// must have been written, or both will write it.
pub(crate) fn fork() -> nix::Result<Side> {
    // SAFETY:
    // - in a process of one thread, which the callers see to, the child may do whatever the parent may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}
