//! Pool configuration: the options, their checks, and the making of a pool. Options that limit something are in a file of
//! their own.

#[cfg(feature = "remote")]
mod backend;
#[cfg(not(feature = "remote"))]
mod here;
mod in_process;
mod limits;
mod own_call;
mod seeing;
mod setup;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pool_ipc::Hub;

use self::own_call::own_call;
use crate::caller::initializer::Success;
use crate::engine::Engine;
use crate::engine::own_call::{INITIALIZER, OwnCall};
use crate::engine::room::Amount;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::host::preload::Preload;
use crate::host::seeing::Seeing;
use crate::host::supervisor::Supervisor;
use crate::host::threads::spawn;
use crate::launch::StartMethod;
use crate::launch::spawn::Inherited;
use crate::launch::threads::Threads;
use crate::pool::{Pool, check_workers};
use crate::scheduler::{NARROW_WORKERS, Scheduler, SchedulerConfig};
use crate::task::state_type::StateType;
use crate::task::table;
use crate::task::{Task, TaskOptions};
use crate::units::nanos;
#[cfg(feature = "remote")]
use crate::wire::Backend;
use crate::worker::limits::WorkerLimits;

/// Sets a pool up; from [`Pool::builder`]. An option that is set twice has its second value; states and
/// variables of different names add up.
///
/// | option | unless set |
/// |---|---|
/// | [`workers`](PoolBuilder::workers) | as many as CPUs that this process may use |
/// | [`start_method`](PoolBuilder::start_method) | [`StartMethod::ForkServer`] |
/// | [`in_process`](PoolBuilder::in_process) | workers are processes |
/// | `backend` (feature `remote`) | items run on this machine |
/// | [`preload`](PoolBuilder::preload), [`initializer`](PoolBuilder::initializer), [`state`](PoolBuilder::state), [`finalizer`](PoolBuilder::finalizer) | none |
/// | [`max_tasks_per_worker`](PoolBuilder::max_tasks_per_worker) | no limit |
/// | [`max_pending`](PoolBuilder::max_pending), [`max_pending_bytes`](PoolBuilder::max_pending_bytes) | no limit |
/// | [`task_timeout`](PoolBuilder::task_timeout), [`retries`](PoolBuilder::retries) | no limit, none |
/// | [`memory_limit`](PoolBuilder::memory_limit), [`max_worker_rss`](PoolBuilder::max_worker_rss) | no limit |
/// | [`idle_timeout`](PoolBuilder::idle_timeout) | workers stay |
/// | [`pin_cpus`](PoolBuilder::pin_cpus) | no |
/// | [`threads_per_worker`](PoolBuilder::threads_per_worker), [`worker_env`](PoolBuilder::worker_env) | as the host's environment says |
/// | [`restart_limit`](PoolBuilder::restart_limit) | 3 |
/// | [`seed`](PoolBuilder::seed) | drawn at random, item by item |
/// | [`name`](PoolBuilder::name) | `pool` |
/// | [`on_event`](PoolBuilder::on_event), [`trace`](PoolBuilder::trace) | none |
/// | [`on_output`](PoolBuilder::on_output) | workers print to the host's streams |
/// | `forward_tracing` (feature `tracing`) | workers keep their spans and events |
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn pid() -> u32 { std::process::id() }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::builder().workers(2).max_tasks_per_worker(1).name("fresh").build()?;
/// assert_ne!(pool.apply(pid::Task, ())?, pool.apply(pid::Task, ())?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    workers: Option<usize>,
    start_method: StartMethod,
    in_process: bool,
    preload: Option<Result<OwnCall>>,
    initializer: Option<Result<OwnCall>>,
    states: Vec<(StateType, Result<OwnCall>)>,
    finalizer: Option<Result<OwnCall>>,
    preload_states: &'static [StateType],
    initializer_states: &'static [StateType],
    finalizer_states: &'static [StateType],
    max_tasks_per_worker: Option<u64>,
    max_pending: Option<usize>,
    max_pending_bytes: Option<u64>,
    idle_timeout: Option<Duration>,
    restart_limit: u32,
    threads: Option<usize>,
    defaults: TaskOptions,
    limits: WorkerLimits,
    seeing: Seeing,
    #[cfg(feature = "remote")]
    backend: Option<Box<dyn Backend>>,
}

/// Segments of the arena, 2 MiB: twice a CPU's second cache, so that a segment that is written again has left the
/// worker's cache (the reason stands in `lane`). Measured with one host and one worker: 1.2 ns for eight bytes there
/// and back with 512 KiB, 0.7 with 1 MiB, 0.6 with 2 and with 4.
const ARENA_SEGMENTS: u32 = 32;

/// Bytes of the arena for large values: four of 16 MiB with their frames, so that two workers each have one to run and
/// one ahead. The arena takes no memory before it is used, and keeps the memory that it has used.
const ARENA_LARGE_BYTES: usize = 65 << 20;

/// Failed starts in a row of one worker that are survived, unless set.
const RESTART_LIMIT: u32 = 3;

/// Bytes of a pool's name that its processes show. The kernel keeps 15 bytes of a process's name, and five are for the worker's
/// number.
const NAME_BYTES_MAX: usize = 10;

impl Pool {
    /// A pool of so many workers, from 1 to 4096, and otherwise the default options.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`]: `InvalidInput` for 0 workers, `System` if processes cannot be made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.worker_pids().len(), 2);
    /// assert_eq!(Pool::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok(()) }
    /// ```
    pub fn new(workers: usize) -> Result<Pool> {
        Pool::builder().workers(workers).build()
    }

    /// The options of a pool, to be set one by one.
    ///
    /// # Examples
    ///
    /// See [`PoolBuilder`].
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl PoolBuilder {
    fn new() -> Self {
        PoolBuilder {
            workers: None,
            start_method: StartMethod::default(),
            in_process: false,
            preload: None,
            initializer: None,
            states: Vec::new(),
            finalizer: None,
            preload_states: &[],
            initializer_states: &[],
            finalizer_states: &[],
            max_tasks_per_worker: None,
            max_pending: None,
            max_pending_bytes: None,
            idle_timeout: None,
            restart_limit: RESTART_LIMIT,
            threads: None,
            defaults: TaskOptions::NONE,
            seeing: Seeing::default(),
            limits: WorkerLimits { name: "pool".to_owned(), ..WorkerLimits::default() },
            #[cfg(feature = "remote")]
            backend: None,
        }
    }

    /// The number of worker processes, from 1 to 4096. Unless set: as many as CPUs that this process may use.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.worker_pids().len(), 3);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "processes")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The way in which worker processes are made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.apply(square::Task, 3)?, 9);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "context")]
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// A task that each worker runs once, before anything else. It returns `()`, or a `Result<(), E>`.
    ///
    /// If it fails, panics or dies, or takes longer than its own [`timeout`](Task::timeout), the worker is started
    /// again, after longer and longer pauses, [`restart_limit`](PoolBuilder::restart_limit) times in a row. If the last of
    /// these fails, too, the pool is [`Broken`](ErrorKind::Broken), with that message.
    ///
    /// The pool's [`task_timeout`](PoolBuilder::task_timeout) and [`retries`](PoolBuilder::retries) do not apply to it, and
    /// its own options other than the time limit have no effect. An initializer without a time limit that never ends
    /// holds up all jobs; `prepare::Task.timeout(d)` gives it one. Arguments that cannot be encoded are an error of
    /// [`build`](PoolBuilder::build). Set twice, the second initializer replaces the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use pool_core::prelude::*;
    ///
    /// static GREETING: OnceLock<String> = OnceLock::new();
    ///
    /// #[pool_task]
    /// fn prepare(greeting: &str) { GREETING.get_or_init(|| greeting.to_owned()); }
    ///
    /// #[pool_task]
    /// fn greet(name: &str) -> String { format!("{} {name}", GREETING.get().unwrap()) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).initializer(prepare::Task, "hello").build()?;
    /// assert_eq!(pool.apply(greet::Task, "world")?, "hello world");
    /// # Ok(()) }
    /// ```
    pub fn initializer<T: Task<Output: Success>>(mut self, task: T, args: T::Args<'_>) -> Self {
        // An error is kept for `build`, so that the options can be chained.
        self.initializer = Some(own_call::<T>(INITIALIZER, task.options(), &args));
        self.initializer_states = T::entry().states();
        self
    }

    /// Gives each worker one CPU of those that this process may use, in turn. Unless set, the kernel moves workers as it
    /// likes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn cpus() -> usize { std::thread::available_parallelism().unwrap().get() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).pin_cpus(true).build()?;
    /// assert_eq!(pool.apply(cpus::Task, ())?, 1);
    /// # Ok(()) }
    /// ```
    pub fn pin_cpus(mut self, pin: bool) -> Self {
        self.limits.pin_cpus = pin;
        self
    }

    /// A name for the pool's threads and processes, without a zero byte: `ps` shows worker 3 of `img` as `img-3`. Of a longer
    /// name it shows the first 10 bytes, since the kernel keeps 15 in all.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn name() -> String { std::fs::read_to_string("/proc/self/comm").unwrap() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(1).name("img").build()?;
    /// assert_eq!(pool.apply(name::Task, ())?, "img-0\n");
    /// let pool = Pool::builder().workers(1).name("thumbnails of cats").build()?;
    /// assert_eq!(pool.apply(name::Task, ())?, "thumbnails-0\n");
    /// # Ok(()) }
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let mut name = name.into();
        // Here and not by the kernel, which would cut off the number of the worker.
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        self.limits.name = name;
        self
    }

    /// Makes the pool. All worker processes exist when this returns; their initializers may still run.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an option out of range, [`Encode`](ErrorKind::Encode) for the
    /// initializer's arguments, [`Unsupported`](ErrorKind::Unsupported) if the start method cannot work in this program,
    /// [`System`](ErrorKind::System) if the system refuses a process or memory. Then nothing is left behind.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().build()?;
    /// assert_eq!(pool.workers(), std::thread::available_parallelism().unwrap().get());
    /// let error = Pool::builder().workers(0).build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # Ok(()) }
    /// ```
    pub fn build(mut self) -> Result<Pool> {
        let workers = self.checked_workers()?;
        let away = self.away()?;
        let workers = away.workers(workers);
        if self.in_process {
            self.limits = self.limits.for_threads();
        }
        self.seeing.check()?;
        let (own_calls, states) = self.own_calls()?;
        let preload = self.checked_preload()?;
        // Before any process is made: with a table that a linker has spoiled no worker could find its tasks.
        table::fingerprint()?;
        let (hub, hub_fd) = Hub::create_with_large(ARENA_SEGMENTS, ARENA_LARGE_BYTES)
            // Within a file size limit (RLIMIT_FSIZE) that is too small for it, large values go through the rings.
            .or_else(|_| Hub::create(ARENA_SEGMENTS))
            .map_err(|error| Error::memory("of the pool", error))?;
        let config = SchedulerConfig {
            workers,
            max_tasks_per_worker: self.max_tasks_per_worker,
            restart_limit: self.restart_limit,
            idle_timeout: self.idle_timeout.map(nanos),
            has_initializer: !own_calls.start.is_empty(),
            initializer_timeout: own_calls.start.first().and_then(|call| call.timeout),
            finalizer_timeout: own_calls.finalizer.as_ref().and_then(|call| call.timeout),
        };
        // No limit is the largest amount, so that the engine compares without asking whether there is one.
        let most_pending = Amount {
            items: self.max_pending.map_or(u64::MAX, |items| items as u64),
            bytes: self.max_pending_bytes.unwrap_or(u64::MAX),
        };
        // Of no interest to small pools, in which each map uses all workers: the answer is in files of the system.
        let cpus = if workers > NARROW_WORKERS { cpus() } else { workers };
        let scheduler = away.scheduler(Scheduler::new(config, table::TASKS.len()).on_cpus(cpus));
        let mut engine = Engine::new(scheduler, own_calls, self.limits.memory_limit, most_pending);
        engine.in_process = self.in_process;
        let host = Host::new(engine, hub, most_pending, self.defaults, away.states(states), &self.limits.name)?;
        // Now, since the program may change its environment later, and replacements should be like the first.
        let inherited = Inherited::take(&self.limits.env)?;
        let ears = self.seeing.ears(&mut self.limits, self.in_process)?;
        let (method, limits, for_host) = (self.start_method, self.limits.clone(), Arc::clone(&host));
        let hub_fd = Arc::new(hub_fd);
        let threads = self.in_process.then(|| Threads::new(&limits, Arc::clone(&hub_fd), &host.bell));
        let threads = threads.map(|threads| away.threads(threads));
        let mut supervisor = Supervisor::new(for_host, method, hub_fd, limits, inherited, ears.clone());
        (supervisor.threads, supervisor.preload) = (threads, preload.map(Preload::new));
        // Before the pool has threads: `StartMethod::Fork` copies this process, and a copy of a thread that holds a
        // lock would hold it for ever.
        self.seeing.open_logs(&host);
        supervisor.start()?;
        // From here on an early return drops the supervisor, which ends the processes that it has started.
        let for_router = Arc::clone(&host);
        let router = spawn(format!("{}-router", self.limits.name), move || for_router.route_for_nobody())?;
        let follower = away.follower(&host, &self.limits.name).inspect_err(|_| host.supervisor_left())?;
        // These threads and the router wait for the supervisor's word that the pool is over; without a supervisor this is it.
        self.seeing.start(&host, &self.limits.name, ears).inspect_err(|_| host.supervisor_left())?;
        let supervisor = spawn(format!("{}-super", self.limits.name), move || supervisor.run());
        let supervisor = supervisor.inspect_err(|_| host.supervisor_left())?;
        let mut threads = vec![supervisor, router];
        threads.extend(follower);
        Ok(Pool::from_parts(host, threads))
    }

    fn checked_workers(&self) -> Result<usize> {
        let refuse = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
        match self.workers.unwrap_or_else(cpus) {
            _ if self.max_tasks_per_worker == Some(0) => {
                refuse("max_tasks_per_worker must be at least 1, and is 0".into())
            }
            _ if self.defaults.timeout == Some(Duration::ZERO) => {
                refuse("task_timeout must leave some time to run, and is zero".into())
            }
            _ if self.threads == Some(0) => refuse("threads_per_worker must be at least 1, and is 0".into()),
            _ if self.max_pending == Some(0) => refuse("max_pending must be at least 1, and is 0".into()),
            _ if self.max_pending_bytes == Some(0) => refuse("max_pending_bytes must be at least 1, and is 0".into()),
            _ if self.limits.name.contains('\0') => {
                refuse(format!("a pool's name cannot have a zero byte, and {:?} has", self.limits.name))
            }
            workers => match self.limits.env.defect() {
                Some(defect) => refuse(defect),
                None => check_workers(workers),
            },
        }
    }
}

/// The CPUs that this process may use, by affinity and control group.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
