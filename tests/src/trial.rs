//! Checks, and the trials that they become: each check × start method × number of workers.

use std::any::type_name;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use pool_core::{Pool, PoolBuilder, StartMethod};

use crate::far::Far;
use crate::leaks::Snapshot;
use crate::over_redis::{self, OverRedis};
use crate::tasks::square;
use crate::watchdog::{self, WatchOptions};

/// The pool that a check is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// How workers are started.
    pub method: StartMethod,
    /// How many there are.
    pub workers: usize,
    /// They are threads, and the method does not matter.
    pub in_process: bool,
    /// Items run in another pool, by way of a backend.
    pub is_remote: bool,
    /// Items run at an agent, by way of a Redis server.
    pub by_redis: bool,
}

impl Setup {
    /// A builder with this method and number of workers.
    pub fn builder(&self) -> PoolBuilder {
        if self.is_remote {
            return Pool::builder().backend(Far::honest(Setup { is_remote: false, ..*self }.builder()));
        }
        if self.by_redis {
            let pool = Setup { by_redis: false, ..*self }.builder();
            return Pool::builder().backend(OverRedis::new(pool, self.workers));
        }
        let builder = Pool::builder().start_method(self.method).workers(self.workers);
        if self.in_process { builder.in_process() } else { builder }
    }

    /// A pool without any further option.
    pub fn pool(&self) -> Pool {
        self.builder().build().expect("an ordinary pool can be made")
    }

    /// The same method with another number of workers.
    pub fn with_workers(&self, workers: usize) -> Setup {
        Setup { workers, ..*self }
    }

    /// As command line arguments.
    pub(crate) fn to_args(self) -> [String; 2] {
        let method = match self {
            Setup { in_process: true, .. } => THREADS,
            Setup { is_remote: true, .. } => REMOTE,
            Setup { by_redis: true, .. } => REDIS,
            Setup { method, .. } => method_name(method),
        };
        [method.to_owned(), self.workers.to_string()]
    }

    fn from_args(method: &str, workers: &str) -> Setup {
        let workers = workers.parse().expect("a number of workers");
        match method {
            THREADS => return IN_PROCESS.with_workers(workers),
            REMOTE => return ELSEWHERE.with_workers(workers),
            REDIS => return BY_REDIS.with_workers(workers),
            _ => {}
        }
        let method = METHODS.into_iter().find(|known| method_name(*known) == method).expect("a method's name");
        Setup { method, ..ORDINARY }.with_workers(workers)
    }
}

const METHODS: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Fork, StartMethod::Spawn];

/// In the place of a method's name.
const THREADS: &str = "in_process";
const REMOTE: &str = "remote";
const REDIS: &str = "redis";

const ORDINARY: Setup =
    Setup { method: StartMethod::ForkServer, workers: 2, in_process: false, is_remote: false, by_redis: false };
const IN_PROCESS: Setup = Setup { in_process: true, ..ORDINARY };
const ELSEWHERE: Setup = Setup { is_remote: true, ..ORDINARY };
const BY_REDIS: Setup = Setup { by_redis: true, ..ORDINARY };

fn method_name(method: StartMethod) -> &'static str {
    match method {
        StartMethod::ForkServer => "fork_server",
        StartMethod::Fork => "fork",
        StartMethod::Spawn => "spawn",
        _ => unreachable!("the tests know all methods"),
    }
}

/// One behaviour that is checked, and the setups in which it is.
pub struct Check {
    name: &'static str,
    run: Box<dyn Fn(&Setup) + Send + Sync>,
    methods: Vec<StartMethod>,
    workers: Vec<usize>,
    in_process: bool,
    processes_only: bool,
    is_remote: bool,
    by_redis: bool,
    options: WatchOptions,
    is_possible: fn() -> bool,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A check in every setup: all start methods × 1, 2 and 5 workers.
pub fn everywhere<F: Fn(&Setup) + Copy + Send + Sync + 'static>(run: F) -> Check {
    Check {
        name: name_of(&run),
        run: Box::new(run),
        methods: METHODS.to_vec(),
        workers: vec![1, 2, 5],
        in_process: false,
        processes_only: false,
        is_remote: false,
        by_redis: false,
        options: WatchOptions::default(),
        is_possible: || true,
    }
}

/// A check for each start method, with two workers.
pub fn each_method<F: Fn(&Setup) + Copy + Send + Sync + 'static>(run: F) -> Check {
    everywhere(run).workers(&[2])
}

/// A check for the fork server only, with two workers.
pub fn once<F: Fn(&Setup) + Copy + Send + Sync + 'static>(run: F) -> Check {
    everywhere(run).workers(&[2]).methods(&[StartMethod::ForkServer])
}

/// No check, but the `main` of a [`Host`](crate::host::Host) that a check starts.
pub fn program<F: Fn(&Setup) + Copy + Send + Sync + 'static>(run: F) -> Check {
    everywhere(run).workers(&[])
}

impl Check {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// With these numbers of workers.
    #[must_use]
    pub fn workers(self, workers: &[usize]) -> Check {
        Check { workers: workers.to_vec(), ..self }
    }

    /// With these start methods.
    #[must_use]
    pub fn methods(self, methods: &[StartMethod]) -> Check {
        Check { methods: methods.to_vec(), ..self }
    }

    /// Also with workers that are threads.
    #[must_use]
    pub fn in_process_too(self) -> Check {
        Check { in_process: true, ..self }
    }

    /// Never with workers that are threads.
    #[must_use]
    pub fn with_processes_only(self) -> Check {
        Check { processes_only: true, ..self }
    }

    /// Also with items that run in another pool.
    #[must_use]
    pub fn remote_too(self) -> Check {
        Check { is_remote: true, ..self }
    }

    /// Also with items that run at an agent of a Redis server, where there is one.
    #[must_use]
    pub fn by_redis_too(self) -> Check {
        Check { by_redis: true, ..self }
    }

    /// It may write to standard error.
    #[must_use]
    pub fn noisy(self) -> Check {
        Check { options: WatchOptions { noisy: true, ..self.options }, ..self }
    }

    /// It may take so long.
    #[must_use]
    pub fn backoff(self, limit: Duration) -> Check {
        Check { options: WatchOptions { limit, ..self.options }, ..self }
    }

    /// It is ignored where this does not hold.
    #[must_use]
    pub fn only_if(self, is_possible: fn() -> bool) -> Check {
        Check { is_possible, ..self }
    }

    fn trials(&self) -> impl Iterator<Item = Trial> {
        let Check { name, options, is_possible, .. } = *self;
        let of_process = self.methods.iter().map(|&method| Setup { method, ..ORDINARY });
        let in_process = (self.in_process && !self.processes_only).then_some(IN_PROCESS);
        let kinds = of_process.chain(in_process).chain(self.is_remote.then_some(ELSEWHERE));
        let setups = kinds.flat_map(|kind| self.workers.iter().map(move |&workers| kind.with_workers(workers)));
        // A server and an agent for each pool take their time, so two workers stand for all numbers.
        let by_redis = (self.by_redis && self.workers.contains(&2)).then_some(BY_REDIS);
        setups.chain(by_redis).map(move |setup| {
            let is_possible = || is_possible() && (!setup.by_redis || over_redis::is_installed());
            let [method, workers] = setup.to_args();
            let run = move || watchdog::run(&trial_args(name, setup), options).map_err(Into::into);
            Trial::test(format!("{name}/{method}/{workers}"), run).with_ignored_flag(!is_possible())
        })
    }
}

/// A check's name is its function's path without the crate.
pub(crate) fn name_of<F>(_: &F) -> &'static str {
    let path = type_name::<F>();
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// The argument that makes this executable run one check in place of the list.
const RUN: &str = "--run";
/// Makes it a host: nothing is looked at afterwards.
const HOST: &str = "host";

fn trial_args(name: &str, setup: Setup) -> Vec<String> {
    let [method, workers] = setup.to_args();
    vec![RUN.to_owned(), name.to_owned(), method, workers]
}

pub(crate) fn host_args(name: &str, setup: Setup) -> Vec<String> {
    let mut args = trial_args(name, setup);
    args.push(HOST.to_owned());
    args
}

/// The `main` of the test program: runs the trials that the command line selects, or is one.
pub fn main(checks: &[Check]) -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == RUN) {
        let check = checks.iter().find(|check| check.name == args[2]).expect("a check of this name");
        let setup = Setup::from_args(&args[3], &args[4]);
        watchdog::hear_ctrl_c();
        if args.len() > 5 {
            (check.run)(&setup);
        } else {
            run_trial(check, &setup);
        }
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // Trials sleep more than they compute.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cpus + 1);
    libtest_mimic::run(&arguments, checks.iter().flat_map(Check::trials).collect()).exit_code()
}

/// Runs the check in the main thread, which is the only one, and looks for its leaks.
fn run_trial(check: &Check, setup: &Setup) {
    watchdog::lead_a_session();
    let before = Snapshot::take();
    (check.run)(setup);
    before.assert_restored();
    // Ordinary work and an ordinary shutdown still succeed.
    let pool = setup.with_workers(2).pool();
    assert_eq!(pool.map(square::Task, 0..100).expect("a map"), (0..100).map(|x| x * x).collect::<Vec<_>>());
    pool.close();
    pool.join().expect("an ordinary end");
    drop(pool);
    before.assert_restored();
}
