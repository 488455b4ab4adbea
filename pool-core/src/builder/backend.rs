//! The option by which items run on other machines, and the parts of such a pool.

use std::sync::Arc;
use std::thread::JoinHandle;

use nix::sys::resource::{Resource, getrlimit};

use super::{PoolBuilder, RESTART_LIMIT};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::host::threads::spawn;
use crate::launch::StartMethod;
use crate::launch::threads::Threads;
use crate::pool::WORKERS_MAX;
use crate::remote::keys::key;
use crate::scheduler::Scheduler;
use crate::task::state_type::StateType;
use crate::task::table::{self, TASKS};
use crate::wire::Backend;
use crate::worker::courier::Route;

impl PoolBuilder {
    /// Has other machines run the items, by a backend such as that of pool-redis (feature `remote`).
    ///
    /// The pool is used as any other: with the same methods, handles, iterators, options of tasks and errors, which name the worker
    /// and the machine where the item ran ([`Error::host`](crate::Error::host)). It has as many workers as the other machines have
    /// room for requests, and follows that number; [`workers`](PoolBuilder::workers) bounds it, and unless set a quarter of the
    /// descriptors that this process may open, up to 4096. These workers are threads that hand items over and wait.
    ///
    /// These are the differences:
    ///
    /// * An item may be run more than once, if a machine is lost while it runs there. Its outcome comes once.
    /// * Time limits are counted where the item runs. One that waits for a machine waits without limit.
    /// * Options that concern processes belong to the pool on the other machine, and are refused here by name: `start_method`,
    ///   `in_process`, `preload`, `initializer`, `state`, `finalizer`, `max_tasks_per_worker`, `memory_limit`, `max_worker_rss`,
    ///   `idle_timeout`, `restart_limit`, `pin_cpus`, `threads_per_worker`, `worker_env`, `on_output`, `forward_tracing`. A task that
    ///   takes a state finds that of the other pool.
    /// * [`broadcast`](crate::Pool::broadcast), [`resize`](crate::Pool::resize), `map_chunks_mut` and [`reports`](crate::Task::reports)
    ///   are [`Unsupported`](ErrorKind::Unsupported).
    /// * Shared arrays travel as copies: the other machine has one of each array that arguments name, and its workers share that.
    /// * Of items with [times](crate::Imap::detailed), each has the mean of its chunk; workers in
    ///   [insights](crate::Pool::insights) and events are the threads here, and values that are `Err` are not counted there.
    ///   `Insights::hosts` has the other machines and their workers, as of their last answers; events and traces have none of these.
    ///
    /// # Errors
    ///
    /// [`build`](PoolBuilder::build) gives `Unsupported` for an option of that list, and the backend's own error if it cannot connect.
    ///
    /// # Examples
    ///
    /// See [`remote::Runner`](crate::remote::Runner).
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backend = Some(Box::new(backend));
        self
    }

    /// Whether the pool will have other machines run its items.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!pool_core::Pool::builder().has_backend());
    /// ```
    pub fn has_backend(&self) -> bool {
        self.backend.is_some()
    }
}

/// The parts of a pool that differ if its items run on other machines.
pub(super) struct Away {
    route: Option<Arc<Route>>,
    /// The most workers.
    most: usize,
}

impl Away {
    /// The number of workers to begin with.
    pub(super) fn workers(&self, workers: usize) -> usize {
        // One at the least: it asks for a machine when there is none yet.
        self.route.as_ref().map_or(workers, |route| route.link.capacity().clamp(1, self.most))
    }

    pub(super) fn scheduler<P>(&self, scheduler: Scheduler<P>) -> Scheduler<P> {
        if self.route.is_some() { scheduler.of_remote() } else { scheduler }
    }

    /// The states that tasks may take. The pools of other machines have them, or say that they have not.
    pub(super) fn states(&self, states: Vec<StateType>) -> Vec<StateType> {
        let all = || TASKS.iter().flat_map(|entry| entry.states()).copied().collect();
        if self.route.is_some() { all() } else { states }
    }

    pub(super) fn threads(&self, threads: Threads) -> Threads {
        let mut threads = threads;
        threads.route.clone_from(&self.route);
        threads
    }

    /// The thread that has as many workers as there is room for on other machines.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(super) fn follower(self, host: &Arc<Host>, name: &str) -> Result<Option<JoinHandle<()>>> {
        let Away { route, most } = self;
        let Some(route) = route else { return Ok(None) };
        let host = Arc::clone(host);
        // The workers alone keep it.
        let _ = host.link.set(Arc::downgrade(&route.link));
        let follow = move || host.follow_capacity(most, || (route.link.capacity(), route.link.hindrance()));
        spawn(format!("{name}-room"), follow).map(Some)
    }
}

impl PoolBuilder {
    /// Opens the way to other machines, if there is one.
    ///
    /// # Errors
    ///
    /// An option that concerns workers on this machine, or the backend's own error.
    pub(super) fn away(&mut self) -> Result<Away> {
        let most = self.workers.unwrap_or_else(workers_max);
        let Some(backend) = self.backend.take() else { return Ok(Away { route: None, most }) };
        // Before the connection: a mistake in the program should show without a network.
        if let Some(option) = self.local_option() {
            let text = format!(
                "`{option}` concerns workers on this machine: set it for the pool of the machine that runs the items"
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        // Before the table is read.
        table::fingerprint()?;
        let keys: Vec<_> = TASKS.iter().map(key).collect();
        let tasks: Vec<_> = keys.iter().flatten().cloned().collect();
        let link = backend.open(&tasks)?;
        // Its workers are threads that wait.
        self.in_process = true;
        Ok(Away { route: Some(Arc::new(Route { link, keys })), most })
    }

    /// The name of an option that is set and concerns workers on this machine.
    fn local_option(&self) -> Option<&'static str> {
        let limits = &self.limits;
        let options = [
            ("in_process", self.in_process),
            ("start_method", self.start_method != StartMethod::default()),
            ("preload", self.preload.is_some()),
            ("initializer", self.initializer.is_some()),
            ("state", !self.states.is_empty()),
            ("finalizer", self.finalizer.is_some()),
            ("max_tasks_per_worker", self.max_tasks_per_worker.is_some()),
            ("memory_limit", limits.memory_limit.is_some()),
            ("max_worker_rss", limits.max_rss.is_some()),
            ("idle_timeout", self.idle_timeout.is_some()),
            ("restart_limit", self.restart_limit != RESTART_LIMIT),
            ("pin_cpus", limits.pin_cpus),
            ("threads_per_worker", self.threads.is_some()),
            ("worker_env", limits.env.has_any()),
            ("on_output", self.seeing.on_output.is_some()),
            #[cfg(feature = "tracing")]
            ("forward_tracing", self.seeing.forwards_tracing),
        ];
        options.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
    }
}

/// The most workers, unless set. Each takes a descriptor of this process, which has other uses for them.
fn workers_max() -> usize {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(descriptors / 4).unwrap_or(WORKERS_MAX).clamp(1, WORKERS_MAX)
}
