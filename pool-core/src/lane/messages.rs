//! The messages between host, fork server and workers: the kinds of records in a lane, and the datagrams of the control
//! socket.

use serde::{Deserialize, Serialize};

use crate::process::panic::PanicReport;
use crate::worker::limits::WorkerLimits;

/// Kind of a record in the request ring: a message to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Request {
    /// Run the initializer, the task `extra`, unless that is [`request::NO_TASK`]. The reply has the sequence number
    /// [`request::INIT_SEQ`].
    Init = 1,
    /// Run `count` items of the task `extra`, but none at or beyond `limit`; `info` is the time limit of each item in
    /// nanoseconds, or 0. The body holds their arguments, one behind the other.
    ///
    /// Items of a request in several records cannot be taken back, so there `limit` announces the length of the body in units of
    /// [`request::LENGTH_UNIT_BYTES`], rounded up, and at least `count`.
    Run = 2,
    /// Leave.
    Quit = 3,
}

impl Request {
    /// The number in the header of such a record.
    #[inline]
    pub(crate) const fn kind(self) -> u16 {
        self as u16
    }
}

/// Flags and numbers of the records in a request ring. Bit 0 is the ring's own, [`pool_ipc::MORE`].
pub(crate) mod request {
    /// The items are expected to be short and nobody waits for them, so the router need not be woken at once when they are
    /// done.
    pub(crate) const QUIET: u16 = 1 << 1;
    /// The body is the only argument of the only item, without a frame.
    pub(crate) const RAW: u16 = 1 << 2;
    /// Nobody need be woken when the items are done, as long as more requests follow.
    pub(crate) const SILENT: u16 = 1 << 3;
    /// The items are expected to be over at once. The host reads this; the worker does not.
    pub(crate) const BRIEF: u16 = 1 << 4;
    /// The items are calls of different callers, so each value is published before the next item begins.
    pub(crate) const SINGLY: u16 = 1 << 5;
    /// The body says where in the arena the arguments are.
    pub(crate) const IN_ARENA: u16 = 1 << 6;

    /// The task of an [`Init`](super::Request::Init) of a pool without an initializer.
    pub(crate) const NO_TASK: u32 = u32::MAX;
    /// Unit of the length that a request in several records announces.
    pub(crate) const LENGTH_UNIT_BYTES: usize = 1 << 10;

    /// Sequence number of the initializer.
    pub(crate) const INIT_SEQ: u32 = u32::MAX;
}

/// Kinds and flags of the records in a reply ring. `info` is the length of the whole reply in each record of a reply that takes
/// several.
pub(crate) mod reply {
    /// Kind: the values of the next `count` items.
    pub(crate) const VALUES: u16 = 1;
    /// Kind: the next item has no value; the body is a [`Failure`](super::Failure).
    pub(crate) const FAILED: u16 = 2;

    /// This ends the reply to a request; `info` is the time that it took in nanoseconds.
    pub(crate) const LAST: u16 = 1 << 1;
    /// The worker has grown too large and should be replaced.
    pub(crate) const OVER_RSS: u16 = 1 << 2;
    /// The body is the only value's own bytes, without a frame.
    pub(crate) const RAW: u16 = 1 << 3;
}

/// The reason why an item has no value although its worker lives. The nanoseconds that the item ran follow if they are known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Panicked(PanicReport),
    Decode(String),
    Encode(String),
}

/// The cause of its death that a dying worker leaves in its lane.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LastWords {
    Panicked(PanicReport),
    StackOverflow,
    MemoryLimit,
}

impl LastWords {
    /// [`LastWords::StackOverflow`] as bytes, for a signal handler, which cannot allocate.
    pub(crate) const STACK_OVERFLOW: [u8; 1] = [1];
    /// [`LastWords::MemoryLimit`] likewise.
    pub(crate) const MEMORY_LIMIT: [u8; 1] = [2];
}

/// Message from the host to the fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ServerRequest {
    /// Fork this worker; the descriptors of its lane come along.
    Launch(Launch),
    /// Kill this process, since the host has no right to do so.
    Kill { worker: u32, pid: u32 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) worker: u32,
    pub(crate) incarnation: u32,
}

/// Message from the fork server to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ServerReport {
    /// The fork server cannot serve: `epoll_create1` failed with `errno`.
    NotServing { errno: i32 },
    /// These workers run, as pairs of worker and pid; their pidfds come along in the same order.
    Launched { pids: Vec<(u32, u32)> },
    /// No process was created: `step` failed with `errno`.
    NotLaunched { worker: u32, step: Step, errno: i32 },
    /// The process has ended. `status` is that of `wait`, or `None` if other code in the fork server has taken it.
    Exited { worker: u32, pid: u32, status: Option<i32> },
}

/// Exit codes of a process of the pool that could not begin, and their meanings.
pub(crate) mod exit {
    pub(crate) const NOT_GREETED: i32 = 118;
    pub(crate) const ORPHANED: i32 = 119;
    pub(crate) const BAD_LANE: i32 = 120;
    pub(crate) const OTHER_PROGRAM: i32 = 121;
    pub(crate) const NO_DIRECTORY: i32 = 122;
    /// The code that shells use for this.
    pub(crate) const NOT_STARTED: i32 = 127;

    pub(crate) fn meaning(code: i32) -> Option<&'static str> {
        Some(match code {
            NOT_GREETED => "it could not receive what it is to do",
            ORPHANED => "it could not be tied to the fork server (prctl, PR_SET_PDEATHSIG)",
            BAD_LANE => "it could not use the memory that it shares with the host (fcntl, mmap, madvise)",
            OTHER_PROGRAM => "its executable has other tasks",
            NO_DIRECTORY => "it could not enter the working directory that its host had when it made the pool (fchdir)",
            NOT_STARTED => "its executable, /proc/self/exe, could not be started",
            _ => return None,
        })
    }
}

/// A step of a launch, for the error that names the one that failed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Receiving the descriptors of the lane.
    Lane,
    Fork,
    Pidfd,
}

/// First datagram in the socket of a new fork server, or of a worker that is an executable of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// Value of the marker in the environment of the new process.
    pub(crate) nonce: u64,
    /// [`crate::task::table::fingerprint`] of the host.
    pub(crate) fingerprint: u64,
    pub(crate) role: Role,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Fork (or spawn) workers for the host with this pid, under this umask; hub and working directory come along.
    Server { host: u32, spawn: bool, umask: Option<u32>, settings: WorkerLimits },
    /// Be a worker; lane and hub come along.
    Worker { worker: u32, incarnation: u32, server: u32, settings: WorkerLimits },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_handlers_bytes_are_the_enums() {
        assert_eq!(postcard::to_allocvec(&LastWords::StackOverflow).unwrap(), LastWords::STACK_OVERFLOW);
        assert_eq!(postcard::to_allocvec(&LastWords::MemoryLimit).unwrap(), LastWords::MEMORY_LIMIT);
    }
}
