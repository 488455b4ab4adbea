//! The parts of the picture.

use std::time::Duration;

use serde::Serialize;

/// The state of all clients and agents at a Redis server, as it is now. Made by [`cluster()`](crate::cluster()).
///
/// `Display` is a table, and `Serialize` has all of it for other programs. More fields may follow.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Cluster {
    /// The agents that are alive, by the names of their hosts.
    pub hosts: Vec<Host>,
    /// Agents of another version of this crate, whose jobs have other clients; in words.
    pub others: Vec<String>,
    /// The tasks for which jobs wait, by their names.
    pub queues: Vec<Queue>,
    /// Clients that are alive.
    pub clients: u64,
    /// Jobs that their agents lost and that were queued again, of all clients. The count ends ten leases after the last client.
    pub redelivered: u64,
    /// Jobs that were lost too often, so that their items ended in an error. Counted as `redelivered`.
    pub lost: u64,
}

/// An agent.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Host {
    /// The name of its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Its worker processes.
    pub workers: u32,
    /// Jobs that it takes at once.
    pub capacity: u32,
    /// Its tasks.
    pub tasks: usize,
    /// Jobs that it was running when it was last heard of.
    pub running: Option<u64>,
    /// Jobs that it has handed in since it began.
    pub done: Option<u64>,
    /// Jobs that it has lost since it began, since it was cut off or stood still.
    pub lost: Option<u64>,
    /// The time until its lease ends, unless it is heard of again.
    pub lease: Duration,
}

/// The jobs that wait for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Queue {
    /// The path of the function.
    pub task: String,
    /// The hash of its types; programs that differ in them have two queues.
    pub signature: u64,
    /// Jobs that wait.
    pub waiting: u64,
    /// Agents that take them.
    pub hosts: usize,
}

impl Cluster {
    /// Worker processes of all hosts.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// assert!(pool_redis::cluster("redis://10.0.0.7")?.workers() > 0, "no agent is there");
    /// # Ok::<(), pool_core::Error>(())
    /// ```
    #[must_use]
    pub fn workers(&self) -> u64 {
        self.hosts.iter().map(|host| u64::from(host.workers)).sum()
    }

    /// Jobs that wait for an agent.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// println!("{} jobs wait", pool_redis::cluster("redis://10.0.0.7")?.waiting());
    /// # Ok::<(), pool_core::Error>(())
    /// ```
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.queues.iter().map(|queue| queue.waiting).sum()
    }

    /// Jobs that agents were running when they were last heard of.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// println!("{} jobs run", pool_redis::cluster("redis://10.0.0.7")?.running());
    /// # Ok::<(), pool_core::Error>(())
    /// ```
    #[must_use]
    pub fn running(&self) -> u64 {
        self.hosts.iter().filter_map(|host| host.running).sum()
    }
}
