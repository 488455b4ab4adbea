//! The other machines, as a link knows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::worker_state::WorkerState;

/// A machine that runs items, as a [`Link`](super::Link) knows it; in [`Insights::hosts`](crate::Insights::hosts).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInsights {
    /// The name of the machine.
    pub host: String,
    /// The process that takes requests there.
    pub pid: u32,
    /// Whether it takes requests at this moment.
    pub is_alive: bool,
    /// Requests of this pool that it has answered.
    pub requests: u64,
    /// Items in these.
    pub items: u64,
    /// The time that they took.
    pub working: Duration,
    /// How long ago it last answered this pool.
    pub answered: Option<Duration>,
    /// Its workers, as of their last report, which travels with answers. Empty before the first.
    pub workers: Vec<HostWorker>,
}

/// A worker of another machine at one moment, whichever pool it works for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostWorker {
    /// Its number there.
    pub worker: u32,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// Its state.
    pub state: WorkerState,
    /// How long it has been in this state, or at its item.
    pub since: Duration,
    /// The task that it runs, `module::function`.
    pub task: Option<String>,
    /// The index of the item that it runs, if that is an item of a map.
    pub item: Option<u64>,
    /// Items that it has answered.
    pub items: u64,
}
