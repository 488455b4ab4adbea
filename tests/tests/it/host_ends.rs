//! The ways in which the program around the pool may end: each leaves nothing behind.

use std::thread;

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use pool_core::prelude::*;
use tests::host::{Host, say, say_pids};
use tests::procs::{self, descendants, eventually, is_alive};
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, each_method, everywhere, program};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_busy_host_that_is_killed_takes_everything_along),
        everywhere(an_idle_host_that_is_killed_takes_everything_along),
        each_method(a_host_that_is_killed_takes_stopped_workers_along),
        each_method(a_killed_host_takes_along_the_processes_of_tasks),
        each_method(a_host_that_exits_without_join_leaves_nothing),
        each_method(a_host_that_forgets_its_pool_leaves_nothing),
        each_method(a_host_that_panics_leaves_nothing_and_exits_with_101),
        each_method(a_host_that_aborts_leaves_nothing),
        each_method(ctrl_c_is_for_the_host_to_decide),
        each_method(a_host_that_dies_of_ctrl_c_takes_everything_along),
        each_method(a_copy_of_a_killed_host_does_not_keep_the_workers),
        program(busy),
        program(idle),
        program(starts_sleepers),
        program(exits_without_join),
        program(forgets_its_pool),
        program(panics),
        program(aborts),
        program(survives_ctrl_c),
        program(has_a_copy),
    ]
}

/// Makes a pool, submits long tasks and says the workers' pids.
fn start(setup: &Setup) -> Pool {
    let pool = setup.pool();
    drop(pool.map_async(nap::Task, vec![30_000; 100]).unwrap());
    say_pids(&pool.worker_pids());
    pool
}

/// Waits for the end of the host, and of all that it has started. Its exit code, or minus the signal.
fn end(host: Host, pids: &[u32]) -> (i32, String) {
    let (status, stderr) = host.wait();
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))), "workers are left: {:?}", descendants());
    assert!(eventually(|| descendants().is_empty()), "processes are left: {:?}", descendants());
    let code = status.code().or(std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| -signal));
    (code.expect("a code or a signal"), stderr)
}

fn killed(mut host: Host, setup: &Setup) {
    let pids = host.pids();
    assert_eq!(pids.len(), setup.workers);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    host.signal(Signal::SIGKILL);
    assert_eq!(end(host, &pids), (-libc::SIGKILL, String::new()));
}

fn busy(setup: &Setup) {
    let pool = start(setup);
    let _ = pool.apply(nap::Task, 30_000);
}

fn a_busy_host_that_is_killed_takes_everything_along(setup: &Setup) {
    killed(Host::start(busy, setup), setup);
}

fn idle(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(square::Task, 2).unwrap(), 4);
    say_pids(&pool.worker_pids());
    loop {
        thread::park();
    }
}

fn an_idle_host_that_is_killed_takes_everything_along(setup: &Setup) {
    killed(Host::start(idle, setup), setup);
}

fn a_host_that_is_killed_takes_stopped_workers_along(setup: &Setup) {
    for host in [Host::start(busy, setup), Host::start(idle, setup)] {
        let mut host = host;
        let pids = host.pids();
        pids.iter().for_each(|pid| procs::signal(*pid, Signal::SIGSTOP));
        host.signal(Signal::SIGKILL);
        assert_eq!(end_of_one(host, &pids), -libc::SIGKILL);
    }
}

/// As [`end`], beside another host.
fn end_of_one(host: Host, pids: &[u32]) -> i32 {
    let (status, _) = host.wait();
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))), "workers are left: {:?}", descendants());
    -std::os::unix::process::ExitStatusExt::signal(&status).expect("a signal")
}

#[pool_task]
fn start_a_sleeper() -> u32 {
    std::process::Command::new("sleep").arg("600").spawn().unwrap().id()
}

fn starts_sleepers(setup: &Setup) {
    let pool = setup.pool();
    say_pids(&pool.map(start_a_sleeper::Task, vec![(); setup.workers]).unwrap());
    loop {
        thread::park();
    }
}

fn a_killed_host_takes_along_the_processes_of_tasks(setup: &Setup) {
    killed(Host::start(starts_sleepers, setup), setup);
}

fn exits_without_join(setup: &Setup) {
    let _pool = start(setup);
    std::process::exit(5);
}

fn a_host_that_exits_without_join_leaves_nothing(setup: &Setup) {
    let mut host = Host::start(exits_without_join, setup);
    let pids = host.pids();
    assert_eq!(end(host, &pids), (5, String::new()));
}

fn forgets_its_pool(setup: &Setup) {
    std::mem::forget(start(setup));
}

fn a_host_that_forgets_its_pool_leaves_nothing(setup: &Setup) {
    let mut host = Host::start(forgets_its_pool, setup);
    let pids = host.pids();
    assert_eq!(end(host, &pids), (0, String::new()));
}

fn panics(setup: &Setup) {
    let _pool = start(setup);
    panic!("the host has had enough");
}

fn a_host_that_panics_leaves_nothing_and_exits_with_101(setup: &Setup) {
    let mut host = Host::start(panics, setup);
    let pids = host.pids();
    let (code, stderr) = end(host, &pids);
    assert_eq!(code, 101);
    assert_eq!(stderr.matches("panicked at").count(), 1, "{stderr}");
    assert!(stderr.contains("the host has had enough"), "{stderr}");
}

fn aborts(setup: &Setup) {
    let _pool = start(setup);
    std::process::abort();
}

fn a_host_that_aborts_leaves_nothing(setup: &Setup) {
    let mut host = Host::start(aborts, setup);
    let pids = host.pids();
    assert_eq!(end(host, &pids), (-libc::SIGABRT, String::new()));
}

// ---- Ctrl-C --------------------------------------------------------------------------------------------------------

/// Acts as a terminal does: the signal goes to the host's process group. Then to each worker itself.
fn interrupt(host: &Host, pids: &[u32]) {
    kill(Pid::from_raw(-(host.pid() as i32)), Signal::SIGINT).unwrap();
    pids.iter().for_each(|pid| procs::signal(*pid, Signal::SIGINT));
}

fn survives_ctrl_c(setup: &Setup) {
    // SAFETY:
    // - no handler of ours runs.
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }.unwrap();
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let naps = pool.map_async(nap::Task, [100; 20]).unwrap();
    say_pids(&pids);
    assert_eq!(naps.get().unwrap(), [100; 20]);
    assert_eq!(pool.worker_pids(), pids);
    say("all naps were taken");
}

fn ctrl_c_is_for_the_host_to_decide(setup: &Setup) {
    let mut host = Host::start(survives_ctrl_c, setup);
    let pids = host.pids();
    for _ in 0..5 {
        interrupt(&host, &pids);
        nap(20);
    }
    assert_eq!(host.line(), "all naps were taken");
    assert_eq!(end(host, &pids), (0, String::new()));
}

fn a_host_that_dies_of_ctrl_c_takes_everything_along(setup: &Setup) {
    let mut host = Host::start(busy, setup);
    let pids = host.pids();
    interrupt(&host, &pids);
    assert_eq!(end(host, &pids), (-libc::SIGINT, String::new()));
}

// ---- copies --------------------------------------------------------------------------------------------------------

/// Has forked a process that lives on and holds copies of all descriptors.
fn has_a_copy(setup: &Setup) {
    let _pool = start(setup);
    // SAFETY:
    // - the child only sleeps and leaves.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            thread::sleep(Duration::from_secs(60));
            // SAFETY:
            // - `_exit` has no preconditions.
            unsafe { libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => say(child),
    }
    loop {
        thread::park();
    }
}

fn a_copy_of_a_killed_host_does_not_keep_the_workers(setup: &Setup) {
    let mut host = Host::start(has_a_copy, setup);
    let pids = host.pids();
    let copy: u32 = host.line().parse().unwrap();
    host.signal(Signal::SIGKILL);
    assert_eq!(end_of_one(host, &pids), -libc::SIGKILL);
    let others = || descendants().into_iter().filter(|process| process.pid != copy).collect::<Vec<_>>();
    assert!(eventually(|| others().is_empty()), "{:?}", others());
    assert!(is_alive(copy));
    procs::kill_9(copy);
}
