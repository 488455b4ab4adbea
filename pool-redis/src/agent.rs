//! The agent: takes requests from the server and runs them in a pool of this machine.
//!
//! | thread | does |
//! |---|---|
//! | that calls [`Agent::run`] (keeper) | renews leases, hears of cancelled jobs and of SIGTERM |
//! | runners, one for each job at once | in turn take a job from the queues; each runs it in the pool, and hands in its outcome |
//! | finisher | hands in the outcomes for which no runner could, since others were at it |

mod finisher;
pub(crate) mod held;
mod keeper;
mod outcomes;
mod queues;
mod store;
mod taker;
mod work;

use std::cell::Cell;
use std::fmt;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::gethostname;
use pool_core::remote::{self, Runner, Stop};
use pool_core::{Error, ErrorKind, Pool, PoolBuilder, Result};

use self::finisher::Finisher;
use self::keeper::{Keeper, Wish};
use self::store::Store;
use self::taker::Taker;
use self::work::{Step, TAKERS, Work};
use crate::advertisement::Advertisement;
use crate::protocol::AgentId;
use crate::settings::Settings;

/// An agent, as it is to be. Made by [`agent`].
#[must_use = "an agent does nothing before `run`"]
pub struct Agent {
    settings: Settings,
    builder: PoolBuilder,
    workers: Option<usize>,
    cache_bytes: usize,
}

/// An agent: it takes jobs from this Redis server, and runs them in a pool of worker processes of this machine.
///
/// The address is as for [`connect`](crate::connect), and so are user and password. Every task of this program is offered, and
/// no other can run: no code travels.
///
/// # Examples
///
/// A program that is client and agent, by its arguments:
///
/// ```no_run
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// fn main() -> pool_core::Result<()> {
///     let url = "redis://10.0.0.7";
///     if std::env::args().any(|argument| argument == "--agent") {
///         return pool_redis::agent(url).workers(8).run();
///     }
///     let pool = Pool::builder().backend(pool_redis::connect(url)?).build()?;
///     println!("{:?}", pool.map(square::Task, 0..1_000)?);
///     Ok(())
/// }
/// ```
pub fn agent(url: &str) -> Agent {
    Agent { settings: Settings::new(url), builder: Pool::builder(), workers: None, cache_bytes: CACHE_BYTES }
}

/// The bytes of payloads that an agent keeps, unless set.
const CACHE_BYTES: usize = 1 << 30;

impl Agent {
    /// The number of worker processes [default: as many as CPUs].
    ///
    /// # Examples
    ///
    /// See [`agent`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The pool that runs the jobs: its initializer, states, limits, sandbox and all else are as on one machine.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use pool_core::prelude::*;
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::builder().memory_limit(1 << 30);
    /// pool_redis::agent("redis://10.0.0.7").pool(pool).run()
    /// # }
    /// ```
    pub fn pool(mut self, pool: PoolBuilder) -> Self {
        self.builder = pool;
        self
    }

    /// The name that all keys begin with; see [`Connect::namespace`](crate::Connect::namespace).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> pool_core::Result<()> {
    /// pool_redis::agent("redis://10.0.0.7").namespace("nightly").run()
    /// # }
    /// ```
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = name.into();
        self
    }

    /// The time after which the jobs of this agent run elsewhere if it is not heard of [default: 15 s]. At least 1 s. It is
    /// renewed while a job runs, however long.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn main() -> pool_core::Result<()> {
    /// pool_redis::agent("redis://10.0.0.7").lease(Duration::from_secs(60)).run()
    /// # }
    /// ```
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// The time after which an agent that cannot reach the server stops its jobs and ends with an error [default: 60 s]. Until
    /// then they run on, and it tries to connect.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn main() -> pool_core::Result<()> {
    /// pool_redis::agent("redis://10.0.0.7").engine_timeout(Duration::from_secs(600)).run()
    /// # }
    /// ```
    pub fn engine_timeout(mut self, timeout: Duration) -> Self {
        self.settings.engine_timeout = timeout;
        self
    }

    /// The bytes of shared arrays, and of arguments of more than a megabyte, that stay in memory for further jobs [default: 1 GiB].
    /// Those that jobs use at the moment count, and stay in any case.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> pool_core::Result<()> {
    /// pool_redis::agent("redis://10.0.0.7").cache_bytes(8 << 30).run()
    /// # }
    /// ```
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Runs until SIGTERM or SIGINT: then it takes no more jobs, finishes those that it has, and returns. While the server is
    /// away that waits for it, up to the [`engine_timeout`](Agent::engine_timeout). A second signal stops the items that run, with
    /// their grace, and gives them back: they run elsewhere at once.
    ///
    /// Call it before the program starts threads: it blocks the two signals for this thread and those that it starts, and
    /// another thread that does not block them would end the process.
    ///
    /// # Errors
    ///
    /// The pool cannot be made, a setting makes no sense, the server refuses the user, or it was not reached for the
    /// [`engine_timeout`](Agent::engine_timeout).
    ///
    /// # Examples
    ///
    /// See [`agent`].
    pub fn run(self) -> Result<()> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        let before =
            signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|error| system("blocking signals", error))?;
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let signals = signals.map_err(|error| system("signalfd", error))?;
        let wish = Cell::new(Wish::GoOn);
        let result = self.run_as(|| {
            if !matches!(signals.read_signal(), Ok(None)) {
                wish.set(if wish.get() == Wish::GoOn { Wish::Drain } else { Wish::Stop });
            }
            wish.get()
        });
        // A signal that came during the end is delivered now, and ends the program as it would have before.
        let _ = before.thread_set_mask();
        result
    }

    /// Runs until `stop` is set: then it takes no more jobs, finishes those that it has, and returns.
    ///
    /// # Errors
    ///
    /// As of [`run`](Agent::run).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pool_core::remote::Stop;
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let stop = Stop::new();
    /// let for_agent = stop.clone();
    /// let agent = std::thread::spawn(move || pool_redis::agent("redis://10.0.0.7").workers(1).run_until(&for_agent));
    /// stop.set();
    /// agent.join().expect("it does not panic")
    /// # }
    /// ```
    pub fn run_until(self, stop: &Stop) -> Result<()> {
        self.run_as(|| if stop.is_set() { Wish::Drain } else { Wish::GoOn })
    }

    fn run_as(self, wish: impl Fn() -> Wish) -> Result<()> {
        // It would hand each job to other machines, or to itself.
        if self.builder.has_backend() {
            let text = "the pool of an agent has a backend: the agent runs its jobs on this machine";
            return Err(remote::error(ErrorKind::InvalidInput, text));
        }
        let client = self.settings.client()?;
        let builder = match self.workers {
            Some(workers) => self.builder.workers(workers),
            None => self.builder,
        };
        let pool = builder.build()?;
        let runner = Runner::new(&pool);
        let workers = pool.workers();
        let capacity = Work::capacity(workers);
        let host = gethostname().map_err(|error| system("gethostname", error))?;
        let advertisement = Advertisement {
            host: host.to_string_lossy().into_owned(),
            pid: process::id(),
            workers: workers as u32,
            capacity: capacity as u32,
            tasks: runner.tasks(),
        };
        let store = Store::new(&client, self.settings.keys(), self.settings.engine_timeout, self.cache_bytes);
        let work = Arc::new(Work::new(AgentId::random()?, &self.settings, workers, store));
        let mut keeper = Keeper::new(&client, &work, &advertisement, self.settings.engine_timeout);
        let taker = |_| Mutex::new(Taker::new(&client, &work, &advertisement.tasks));
        let takers: Vec<_> = (0..TAKERS).map(taker).collect();
        let finisher = Mutex::new(Finisher::new(&client, &work));
        let run_jobs = || {
            // So that the outcome goes out by this thread, which is awake.
            let mut has_outcome = false;
            while let Some(step) = work.next_step(has_outcome) {
                has_outcome = matches!(step, Step::Run(_));
                match step {
                    Step::Run(job) => work.run(&runner, job, &advertisement.host),
                    Step::Take(taker, count) => {
                        let jobs = takers[taker].lock().unwrap_or_else(PoisonError::into_inner).take(&work, count);
                        work.took(taker, count, jobs);
                    }
                    Step::HandIn => Finisher::send_here(&finisher, &work),
                }
            }
        };
        let finish = || Finisher::run(&finisher, &work);
        thread::scope(|scope| {
            // Dropped also if a thread cannot be started: then all others end.
            let _end = EndOfWork(&work);
            let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
            let failed = |error| system("starting a thread", error);
            spawn("pool-redis-done").spawn_scoped(scope, finish).map_err(failed)?;
            let runners = (0..capacity).map(|_| spawn("pool-redis-run").spawn_scoped(scope, run_jobs).map_err(failed));
            let runners = runners.collect::<Result<Vec<_>>>()?;
            keeper.run(wish, || runners.iter().all(|runner| runner.is_finished()))
        })
    }
}

fn system(doing: &str, error: impl fmt::Display) -> Error {
    remote::error(ErrorKind::System, format!("{doing}: {error}"))
}

/// Tells all threads to end when it is dropped.
struct EndOfWork<'w>(&'w Work);

impl Drop for EndOfWork<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address, which may hold a password.
        f.debug_struct("Agent").field("namespace", &self.settings.namespace).finish_non_exhaustive()
    }
}
