//! The one place that forks.

#![allow(unsafe_code)]

use nix::unistd::{ForkResult, Pid};

/// The two sides of a fork.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Child,
    Parent(Pid),
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
