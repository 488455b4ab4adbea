//! What host, fork server and workers say to each other: record kinds of a lane, and datagrams of the control socket.

use serde::{Deserialize, Serialize};

use crate::process::panic::PanicReport;
use crate::worker::limits::WorkerLimits;

/// Kinds of the records in a call ring.
pub(crate) mod call {
    /// Run the initializer, the task `extra`, if it is not [`NO_TASK`]; the reply has the sequence number [`INIT_SEQ`].
    pub(crate) const INIT: u16 = 1;
    /// Run `count` items of the task `extra`, and none at or beyond `limit`; `info` is the time limit of each in
    /// nanoseconds, or 0.
    pub(crate) const RUN: u16 = 2;
    /// Leave.
    pub(crate) const QUIT: u16 = 3;

    /// Flag: this is expected to be short and nobody waits for it, so the router need not be woken at once when it is
    /// done.
    pub(crate) const QUIET: u16 = 1 << 1;

    /// Flag: nobody need be woken when it is done, as long as there are more calls.
    pub(crate) const SILENT: u16 = 1 << 3;
    /// Flag, of no interest to the worker: it is expected to be over at once.
    pub(crate) const BRIEF: u16 = 1 << 4;
    /// Flag: the body is the bytes of the only argument of the only item, without a frame.
    pub(crate) const RAW: u16 = 1 << 2;
    /// Flag: the items are calls of different callers, so each value is published before the next item begins.
    pub(crate) const SINGLY: u16 = 1 << 5;
    /// Flag: the body says where in the arena the arguments are.
    pub(crate) const IN_ARENA: u16 = 1 << 6;

    /// Stands for "no initializer".
    pub(crate) const NO_TASK: u32 = u32::MAX;
    /// The sequence number of the initializer.
    pub(crate) const INIT_SEQ: u32 = u32::MAX;
}

/// Kinds of the records in a reply ring. `info` is the length of the whole reply if it goes in several, in each of them.
pub(crate) mod reply {
    /// The values of the next `count` items.
    pub(crate) const VALUES: u16 = 1;
    /// The next item has no value; the payload is a [`Failure`](super::Failure).
    pub(crate) const FAILED: u16 = 2;

    /// Flag: this ends the reply to a call; `info` is the time it took in nanoseconds.
    pub(crate) const LAST: u16 = 1 << 1;
    /// Flag: the worker has grown too large and should be replaced.
    pub(crate) const OVER_RSS: u16 = 1 << 2;
    /// Flag: the body is the bytes of the only value, without a frame.
    pub(crate) const RAW: u16 = 1 << 3;
}

/// Why an item has no value although its worker lives. If it is known how long the item ran, that follows in nanoseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Panicked(PanicReport),
    Decode(String),
    Encode(String),
}

/// What a dying worker leaves in the note of its lane.
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

/// Host to fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start this worker; the lane's descriptors come along.
    Launch(Launch),
    /// Kill this process, which the host has no right to.
    Kill { worker: u32, pid: u32 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) worker: u32,
    pub(crate) incarnation: u32,
}

/// Fork server to host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The greeting was right, but this process cannot serve: `epoll_create1` gave `errno`.
    NotServing { errno: i32 },
    /// These workers have processes of these numbers; the pidfds come along, in this order.
    Launched { pids: Vec<(u32, u32)> },
    /// The process does not exist: `step` gave `errno`.
    NotLaunched { worker: u32, step: Step, errno: i32 },
    /// The process has ended; `status` is as `wait` gave it, or `None` if something else in the fork server took it.
    Exited { worker: u32, pid: u32, status: Option<i32> },
}

/// Exit codes by which a process of a pool tells that it could not begin, and what each means.
pub(crate) mod exit {
    pub(crate) const NOT_GREETED: i32 = 118;
    pub(crate) const ORPHANED: i32 = 119;
    pub(crate) const BAD_LANE: i32 = 120;
    pub(crate) const OTHER_PROGRAM: i32 = 121;
    pub(crate) const NO_DIRECTORY: i32 = 122;
    /// As a shell's.
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

/// What it takes to launch a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Taking in the descriptor of its lane.
    Lane,
    Fork,
    Pidfd,
}

/// The first datagram in the socket of a process that was made to serve.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// The value of the marker in the environment.
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
