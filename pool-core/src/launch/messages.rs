//! Datagrams of the control socket, by which the host and its fork server talk, and the greeting of a new process.

use std::io;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::worker::limits::WorkerLimits;

/// Message from the host to the fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ServerRequest {
    /// Fork this worker; the descriptors of its lane and its end of the socket come along.
    Launch(Launch),
    /// Run the preload before anything else; the descriptors of its lane and its end of the socket come along.
    Preload,
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
    /// The preload has ended, well or not, and has left so many threads behind; `names` are those of the first.
    Preloaded { threads: u32, names: String },
    /// These workers run, as pairs of worker and pid; their pidfds come along in the same order.
    Launched { pids: Vec<(u32, u32)> },
    /// No process was created: `step` failed with `errno`.
    NotLaunched { worker: u32, step: Step, errno: i32 },
    /// The process has ended. `status` is that of `wait`, or `None` if other code in the fork server has taken it.
    Exited { worker: u32, pid: u32, status: Option<i32> },
}

/// A step of a launch, for the error that names the one that failed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Receiving the descriptors of the lane and the socket.
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
    /// Be a worker; lane, hub and the end of the socket come along.
    Worker { worker: u32, incarnation: u32, server: u32, settings: WorkerLimits },
}

pub(crate) fn not_serving(errno: i32) -> Error {
    Error::system("epoll_create1 of the fork server", io::Error::from_raw_os_error(errno))
}

pub(crate) fn launch_error(step: Step, errno: i32) -> Error {
    let doing = match step {
        Step::Lane => "passing shared memory to a worker",
        Step::Fork => "fork of a worker",
        Step::Pidfd => "pidfd_open of a worker",
    };
    Error::system(doing, io::Error::from_raw_os_error(errno))
}
