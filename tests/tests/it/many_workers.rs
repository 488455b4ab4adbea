//! Pools of hundreds of workers: more launches and deaths at once than a socket has room for.

use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use pool_core::prelude::*;
use tests::procs::{self, children, eventually, fork_server, kill_9};
use tests::tasks::{pid, square};
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(all_of_many_workers_may_be_killed_at_once).workers(&[700]).backoff(BACKOFF),
        once(many_workers_are_replaced_after_each_item).workers(&[600]).backoff(BACKOFF),
        once(a_stopped_fork_server_holds_up_no_resize).backoff(BACKOFF),
        once(a_stopped_fork_server_holds_up_no_launches_of_the_dead).workers(&[50]).backoff(BACKOFF),
        each_method(a_pool_ends_though_thousands_of_launches_wait).backoff(BACKOFF),
        each_method(a_smaller_size_takes_back_launches_that_wait).backoff(BACKOFF),
        each_method(too_few_descriptors_are_an_error).backoff(BACKOFF),
    ]
}

/// A thousand processes of a program with debug information, on a machine that is busy.
const BACKOFF: Duration = Duration::from_secs(300);

/// Waits as long as processes of the pool go on being made.
fn becomes(pool: &Pool, workers: usize) -> bool {
    let (mut most, mut last) = (0, Instant::now());
    loop {
        let now = pool.worker_pids().len();
        if now == workers {
            return true;
        }
        if now > most {
            (most, last) = (now, Instant::now());
        }
        if last.elapsed() > procs::SOON {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn assert_works(pool: &Pool) {
    assert_eq!(pool.map(square::Task.retries(5), 0..2000).unwrap().len(), 2000);
}

fn all_of_many_workers_may_be_killed_at_once(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    assert_eq!(pids.len(), setup.workers);
    pids.iter().for_each(|pid| kill_9(*pid));
    assert!(eventually(|| pool.stats().workers_died >= setup.workers as u64), "{:?}", pool.stats());
    assert!(becomes(&pool, setup.workers), "{:?}", pool.stats());
    assert_works(&pool);
}

fn many_workers_are_replaced_after_each_item(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
    let pids = pool.map(pid::Task.chunk_size(1), vec![(); 2000]).unwrap();
    assert_eq!(pids.len(), 2000);
}

fn a_stopped_fork_server_holds_up_no_resize(setup: &Setup) {
    let pool = setup.pool();
    procs::signal(fork_server().pid, Signal::SIGSTOP);
    pool.resize(400).unwrap();
    assert!(becomes(&pool, 400), "{:?}", pool.stats());
    assert_works(&pool);
}

fn a_stopped_fork_server_holds_up_no_launches_of_the_dead(setup: &Setup) {
    let pool = setup.pool();
    let server = fork_server().pid;
    procs::signal(server, Signal::SIGSTOP);
    pool.worker_pids().iter().for_each(|pid| kill_9(*pid));
    std::thread::sleep(Duration::from_millis(100));
    procs::signal(server, Signal::SIGCONT);
    assert!(becomes(&pool, setup.workers), "{:?}", pool.stats());
    assert_works(&pool);
}

fn a_pool_ends_though_thousands_of_launches_wait(setup: &Setup) {
    let pool = setup.pool();
    let server = fork_server().pid;
    pool.resize(3000).unwrap();
    pool.terminate();
    pool.join().unwrap();
    // It would have begun all of them.
    assert!(pool.stats().workers_started < 2000, "{:?}", pool.stats());
    assert!(!procs::is_alive(server));
}

fn a_smaller_size_takes_back_launches_that_wait(setup: &Setup) {
    let pool = setup.pool();
    pool.resize(3000).unwrap();
    pool.resize(setup.workers).unwrap();
    assert!(becomes(&pool, setup.workers), "{:?}", pool.stats());
    assert_works(&pool);
    assert!(eventually(|| children(fork_server().pid).len() == setup.workers));
}

fn too_few_descriptors_are_an_error(setup: &Setup) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let error = setup.with_workers(100).builder().build().unwrap_err();
    assert!(error.kind() == ErrorKind::System && error.to_string().contains("`ulimit -n`"), "{error}");
    let pool = setup.builder().restart_limit(1).build().unwrap();
    pool.resize(100).unwrap();
    let error = pool.map(square::Task, 0..1_000_000_000_000).unwrap_err();
    assert!(error.kind() == ErrorKind::Broken && error.to_string().contains("`ulimit -n`"), "{error}");
    drop(pool);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}
