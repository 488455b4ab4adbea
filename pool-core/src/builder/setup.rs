//! Options of the state that tasks find in their worker: seeds, variables, values.

use std::ffi::OsString;
use std::time::Duration;

use super::PoolBuilder;
use super::own_call::own_call;
use crate::caller::initializer::Success;
use crate::engine::own_call::{FINALIZER, OwnCall, OwnCalls, PRELOAD, STATE};
use crate::error::{Error, ErrorKind, Result};
use crate::launch::StartMethod;
use crate::task::state::{Opening, State};
use crate::task::state_type::{StateType, lacks, missing};
use crate::task::{Task, TaskOptions};

/// The time that a finalizer may take, unless it sets its own.
const FINALIZER_TIMEOUT: Duration = Duration::from_secs(10);

impl PoolBuilder {
    /// A seed for the random numbers of tasks: an item gets the same [`CurrentItem::seed`](crate::CurrentItem::seed) in every
    /// run in which as many jobs were submitted to the pool before its own, with any number of workers, and at every attempt.
    ///
    /// A [task's own seed](crate::Task::seed) comes first. Calls with a seed travel one by one, which costs small ones some
    /// of their speed; maps lose none.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    /// use pool_core::current_item;
    ///
    /// /// Points of so many that lie in the circle. Any generator of random numbers does that takes a seed.
    /// #[pool_task]
    /// fn hits(points: u32) -> u32 {
    ///     let mut state = current_item().unwrap().seed | 1;
    ///     let mut draw = || {
    ///         state ^= state << 13;
    ///         state ^= state >> 7;
    ///         state ^= state << 17;
    ///         (state >> 11) as f64 / (1u64 << 53) as f64
    ///     };
    ///     (0..points).filter(|_| draw().powi(2) + draw().powi(2) < 1.0).count() as u32
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let count = |workers| Pool::builder().workers(workers).seed(42).build()?.map(hits::Task, [1000; 20]);
    /// assert_eq!(count(1)?, count(2)?);
    /// # Ok(()) }
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.defaults.seed = Some(seed);
        self
    }

    /// The number of threads that libraries start in each worker: OpenMP, rayon, OpenBLAS and MKL, by their variables
    /// `OMP_NUM_THREADS`, `RAYON_NUM_THREADS`, `OPENBLAS_NUM_THREADS` and `MKL_NUM_THREADS`.
    ///
    /// Unset, each of them starts as many as there are CPUs, in each worker. Zero is an `InvalidInput` error of
    /// [`build`](PoolBuilder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn threads() -> String { std::env::var("RAYON_NUM_THREADS").unwrap_or_default() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).threads_per_worker(1).build()?;
    /// assert_eq!(pool.apply(threads::Task, ())?, "1");
    /// # Ok(()) }
    /// ```
    pub fn threads_per_worker(mut self, threads: usize) -> Self {
        // Zero is told by `build`, so that the options can be chained.
        self.threads = Some(threads);
        for name in ["OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
            self.limits.env.set(name.into(), vec![threads.to_string().into()]);
        }
        self
    }

    /// A variable of the environment of workers: worker *i* gets `values[i % len]`, its replacements too. Called again for
    /// the same name, it takes the earlier one's place.
    ///
    /// One value for all is part of the environment with which the fork server is started, so constructors of the program
    /// and of its libraries find it. With several values that is so only with [`StartMethod::Spawn`]: otherwise the value is
    /// set (setenv(3)) in a process that has been forked, before any of the program's code runs there. Libraries that read
    /// the variable when they are loaded (glibc's `GLIBC_TUNABLES` and `LD_LIBRARY_PATH`, some builds of OpenMP) have read it
    /// in the fork server by then, and `/proc/PID/environ` shows the fork server's. The same goes for
    /// [`StartMethod::Fork`] with any number of values: the host has run for long.
    ///
    /// No values, an empty name, or one with `=` or a zero byte in it are an `InvalidInput` error of
    /// [`build`](PoolBuilder::build).
    ///
    /// [`StartMethod::Spawn`]: crate::StartMethod::Spawn
    /// [`StartMethod::Fork`]: crate::StartMethod::Fork
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn device() -> String { std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(4).worker_env("CUDA_VISIBLE_DEVICES", ["0", "1"]).build()?;
    /// assert!(["0", "1"].contains(&pool.apply(device::Task, ())?.as_str()));
    /// # Ok(()) }
    /// ```
    pub fn worker_env<V: Into<OsString>>(
        mut self,
        name: impl Into<OsString>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.limits.env.set(name.into(), values.into_iter().map(Into::into).collect());
        self
    }

    /// A task that runs once, before there are workers, and leaves something in memory that all of them share: a parsed model, a large
    /// table, a dictionary. It returns `()` or a `Result<(), E>`.
    ///
    /// It runs in the fork server, and workers are copies of that process. So each worker finds the statics that the task has set, in
    /// the same physical memory as long as nobody writes there (copy-on-write). So does a worker that replaces another: a gigabyte
    /// is loaded once, however many workers there are, and a worker that has died is back with it after milliseconds
    /// (`docs/measurements.md`). If the fork server itself is killed, the one that replaces it runs the task again. The host's own
    /// memory stays as it is.
    ///
    /// Initializers and states come after it, in each worker. Threads are not copied, so a thread that the task leaves behind is an
    /// error. Open files and connections would be shared by all workers: each should open its own, in an
    /// [initializer](PoolBuilder::initializer) or as a [state](PoolBuilder::state). A generator of random numbers that the task has
    /// seeded goes on alike in all of them. [`max_worker_rss`](PoolBuilder::max_worker_rss) and
    /// [`memory_limit`](PoolBuilder::memory_limit) count from here, and do not bound the task itself. Of its own options the time limit alone
    /// has an effect. Set twice, the second preload replaces the first. Its spans, events and records of `log` are not
    /// forwarded (`forward_tracing`).
    ///
    /// With [`StartMethod::Fork`] it runs in a copy of the host. With
    /// [`StartMethod::Spawn`], where workers are not copies, it is [`Unsupported`](ErrorKind::Unsupported). With [`in_process`](PoolBuilder::in_process) it runs in a
    /// thread of the host.
    ///
    /// # Errors
    ///
    /// [`build`](PoolBuilder::build) waits for it, without a limit unless the task has a [`timeout`](Task::timeout) of its own. It is an
    /// error of `build` that names the task and the cause if it returns an `Err`, panics, ends its process, cannot decode its arguments
    /// or takes too long ([`Broken`](ErrorKind::Broken)), or if it leaves a thread behind (`Unsupported`); then nothing is left. If it fails in a fork server that replaces
    /// another, it is tried again after longer and longer pauses, [`restart_limit`](PoolBuilder::restart_limit) times in a row; if the last of
    /// these fails, too, the pool is [`Broken`](ErrorKind::Broken), with that message.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use std::sync::OnceLock;
    /// use pool_core::prelude::*;
    ///
    /// static WORDS: OnceLock<HashSet<String>> = OnceLock::new();
    ///
    /// #[pool_task]
    /// fn load(text: &str) { WORDS.get_or_init(|| text.lines().map(str::to_owned).collect()); }
    ///
    /// #[pool_task]
    /// fn is_word(text: &str) -> bool { WORDS.get().is_some_and(|words| words.contains(text)) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(4).preload(load::Task.timeout(Duration::from_secs(60)), "pool\nworker").build()?;
    /// assert_eq!(pool.map(is_word::Task, ["worker", "wrker", "pool"])?, [true, false, true]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "set_forkserver_preload")]
    pub fn preload<T: Task<Output: Success>>(mut self, task: T, args: T::Args<'_>) -> Self {
        self.preload = Some(own_call::<T>(PRELOAD, task.options(), &args));
        self.preload_states = T::entry().states();
        self
    }

    /// The preload.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn checked_preload(&mut self) -> Result<Option<OwnCall>> {
        let Some(call) = self.preload.take().transpose()? else { return Ok(None) };
        if let Some(taken) = self.preload_states.first() {
            let text = format!(
                "the preload `{}` takes a state of type `{}`, and states are opened in workers",
                call.name,
                taken.name()
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        if self.start_method == StartMethod::Spawn && !self.in_process {
            let text = format!(
                "the preload `{}` would reach no worker: with `StartMethod::Spawn` each is started anew, and is no copy of the \
                 process in which it runs; use another start method, or an initializer",
                call.name
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        Ok(Some(call))
    }

    /// A state of each worker, such as a connection or a model: a function with [`#[pool_state]`](crate::pool_state) that
    /// opens it, and its arguments. Tasks take it as `#[state] name: &mut T` or `&T`, beside their ordinary arguments.
    ///
    /// Each worker opens it after the initializer and before its first task, its replacements too; several are opened in the
    /// order in which they were given. If that fails, panics, or takes longer than the state's own
    /// [`timeout`](State::timeout), it counts as an [initializer](PoolBuilder::initializer) that fails. A pool has one state of
    /// each type: a second one is an [`InvalidInput`](ErrorKind::InvalidInput) error of [`build`](PoolBuilder::build), and so
    /// is a submission of a task that takes a state which the pool has not.
    ///
    /// A state stays in the thread that runs the tasks, so it need not be `Send`. When a task panics that has a `&mut` of it,
    /// it is dropped and opened anew before the next item, within the same limit; if that fails, the worker is replaced. When a
    /// worker leaves in peace its states are dropped, the last one first, after the [finalizer](PoolBuilder::finalizer). A
    /// worker that dies or is killed drops nothing, and neither does [`terminate`](crate::Pool::terminate) nor dropping the
    /// pool. A destructor that panics replaces the worker if the state was to be opened anew, and is said in the
    /// [event](crate::Event::WorkerExited) of its exit; in a worker that leaves it is told as a
    /// [failure of the finalizer](crate::Event::FinalizerFailed), even if the pool has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use pool_core::prelude::*;
    ///
    /// type Prices = HashMap<String, u64>;
    ///
    /// #[pool_state]
    /// fn load(text: &str) -> Result<Prices, std::num::ParseIntError> {
    ///     let rows = text.lines().filter_map(|line| line.split_once('='));
    ///     rows.map(|(name, price)| Ok((name.to_owned(), price.parse()?))).collect()
    /// }
    ///
    /// #[pool_task]
    /// fn price(#[state] prices: &Prices, name: &str) -> Option<u64> { prices.get(name).copied() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().workers(2).state(load::State, "tea=3\ncake=5").build()?;
    /// assert_eq!(pool.map(price::Task, ["cake", "pie", "tea"])?, [Some(5), None, Some(3)]);
    ///
    /// let error = Pool::new(1)?.apply(price::Task, "tea").unwrap_err();
    /// assert!(error.to_string().contains("a state of type `Prices`"), "{error}");
    /// # Ok(()) }
    /// ```
    pub fn state<S: State>(mut self, state: S, args: S::Args<'_>) -> Self {
        let call = own_call::<Opening<S>>(STATE, state.options(), &args);
        self.states.push((StateType::of::<S::Value>(std::any::type_name::<S::Value>()), call));
        self
    }

    /// A task that each worker runs when it leaves in peace: after [`close`](crate::Pool::close), when it was idle
    /// ([`idle_timeout`](PoolBuilder::idle_timeout)), has run as many items as it may
    /// ([`max_tasks_per_worker`](PoolBuilder::max_tasks_per_worker)), has grown too large
    /// ([`max_worker_rss`](PoolBuilder::max_worker_rss)), or is one too many ([`resize`](crate::Pool::resize)). It returns `()`
    /// or a `Result<(), E>`, and may take states.
    ///
    /// A worker that was never ready, dies or is killed runs none, and neither do workers of a pool that is terminated or dropped. If it takes
    /// longer than its own [`timeout`](Task::timeout), which is 10 s unless set, the worker is killed a second after that; the
    /// time in which states are dropped counts, too. Whether it succeeds does not matter to any job, nor to [`join`](crate::Pool::join), which waits
    /// for it; a failure is an [event](crate::Event::FinalizerFailed), and
    /// [insights](crate::Insights::last_finalizer_failure) keep the last one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn farewell(path: &std::path::Path) -> Result<(), String> {
    ///     std::fs::write(path, "bye").map_err(|error| error.to_string())
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let path = std::env::temp_dir().join(format!("farewell-{}", std::process::id()));
    /// let pool = Pool::builder().workers(1).finalizer(farewell::Task, &path).build()?;
    /// pool.wait_ready()?;
    /// pool.close();
    /// pool.join()?;
    /// assert_eq!(std::fs::read_to_string(&path).unwrap(), "bye");
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok(()) }
    /// ```
    pub fn finalizer<T: Task<Output: Success>>(mut self, task: T, args: T::Args<'_>) -> Self {
        let options = task.options();
        // Always some: `join` waits for it.
        let timeout = options.timeout.or(Some(FINALIZER_TIMEOUT));
        self.finalizer = Some(own_call::<T>(FINALIZER, TaskOptions { timeout, ..options }, &args));
        self.finalizer_states = T::entry().states();
        self
    }

    /// The calls of each worker, and the types of its states.
    ///
    /// # Errors
    ///
    /// The first that cannot be made.
    pub(super) fn own_calls(&mut self) -> Result<(OwnCalls, Vec<StateType>)> {
        let refuse = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
        let mut start: Vec<_> = self.initializer.take().transpose()?.into_iter().collect();
        if let (Some(call), Some(taken)) = (start.first(), self.initializer_states.first()) {
            let text = format!(
                "the initializer `{}` takes a state of type `{}`, and states are opened after it",
                call.name,
                taken.name()
            );
            return refuse(text);
        }
        let mut states: Vec<(StateType, String)> = Vec::new();
        // Looked through one by one: a pool has few states, and their order matters.
        for (ty, call) in std::mem::take(&mut self.states) {
            let call = call?;
            if let Some((_, other)) = states.iter().find(|(of, _)| *of == ty) {
                let text = format!("`{other}` and `{}` both open a state of type `{}`", call.name, ty.name());
                return refuse(format!("{text}, and a pool has one of each type"));
            }
            states.push((ty, call.name.clone()));
            start.push(call);
        }
        // The host needs the types alone: it compares them with those that a task takes.
        let states: Vec<_> = states.into_iter().map(|(ty, _)| ty).collect();
        let finalizer = self.finalizer.take().transpose()?;
        if let (Some(call), Some(missing)) = (&finalizer, missing(self.finalizer_states, &states)) {
            return refuse(format!("the finalizer `{}` {}", call.name, lacks(missing)));
        }
        Ok((OwnCalls { start, finalizer }, states))
    }
}
