//! The states of a worker, as people see them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkerState {
    /// It has no process, and needs none now.
    Absent,
    /// Its process failed to start; the next attempt follows after a pause.
    BackingOff,
    /// Its process is being made.
    Starting,
    /// It runs the initializer.
    Initializing,
    /// It has nothing to do.
    Waiting,
    /// It runs items.
    Working,
    /// It was told to leave.
    Leaving,
    /// Its process was killed, and is not gone yet.
    Ending,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            WorkerState::Absent => "absent",
            WorkerState::BackingOff => "backing off",
            WorkerState::Starting => "starting",
            WorkerState::Initializing => "initializing",
            WorkerState::Waiting => "waiting",
            WorkerState::Working => "working",
            WorkerState::Leaving => "leaving",
            WorkerState::Ending => "ending",
        })
    }
}
