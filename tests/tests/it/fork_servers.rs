//! The fork server amid threads of the program's own constructors, and how its end is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use pool_core::prelude::*;
use tests::gate::{Gate, open_and_hang};
use tests::host::{Host, say};
use tests::procs::{self, eventually, fork_server};
use tests::tasks::{Way, crash, nap, pid, square};
use tests::trial::{Check, Setup, each_method, program};

use crate::host_processes::assert_works;

pub(crate) fn checks() -> Vec<Check> {
    let from_executable = [StartMethod::ForkServer, StartMethod::Spawn];
    vec![
        each_method(threads_of_a_constructor_keep_no_death_secret).methods(&from_executable),
        each_method(a_constructor_may_have_signals_of_children_ignored).methods(&from_executable),
        each_method(a_thread_that_takes_statuses_keeps_no_death_secret).methods(&[StartMethod::ForkServer]),
        each_method(descriptors_of_a_constructor_are_there_once).methods(&from_executable),
        each_method(a_copy_of_the_fork_server_does_not_hide_its_end).methods(&[StartMethod::ForkServer]),
        each_method(the_end_of_the_fork_server_is_told_with_its_signal),
        each_method(a_silent_fork_server_is_given_up_and_that_is_told),
        each_method(the_death_of_a_worker_is_seen_although_the_fork_server_is_stopped),
        each_method(a_second_pool_of_copies_waits_for_the_end_of_the_first).methods(&[StartMethod::Fork]),
        each_method(a_pool_is_broken_after_as_many_restarts_as_are_allowed),
        each_method(a_program_that_its_loader_has_started_says_so),
        program(makes_a_pool),
    ]
}

/// A constructor of this program does this if the variable is set: in the processes of a pool, and in no host.
const MODE: &str = "POOL_TESTS_CONSTRUCTOR";

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

extern "C" fn construct() {
    let Ok(mode) = std::env::var(MODE) else { return };
    if mode == "opens" {
        // SAFETY:
        // - the path is a string. Nothing closes the descriptor on exec.
        unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) };
        return;
    }
    thread::spawn(move || {
        // SAFETY:
        // - no handler of ours runs.
        let ignore = || unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
        loop {
            thread::sleep(Duration::from_millis(1));
            match mode.as_str() {
                "ignores" => drop(ignore()),
                "reaps" => drop(waitpid(None, None)),
                "forks" => return keep_a_copy(),
                _ => {}
            }
        }
    });
}

/// While this file exists, a copy of the fork server does.
const KEEP: &str = "POOL_TESTS_KEEP";

/// Forks this process. The copy has all its descriptors.
fn keep_a_copy() {
    let path = std::env::var(KEEP).ok().and_then(|path| std::ffi::CString::new(path).ok()).expect("a path");
    // SAFETY:
    // - the child only makes system calls.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        loop {
            // SAFETY:
            // - the path is a string.
            if unsafe { libc::access(path.as_ptr(), libc::F_OK) } != 0 {
                // SAFETY:
                // - `_exit` has no preconditions.
                unsafe { libc::_exit(0) };
            }
            // SAFETY:
            // - the call takes a number.
            unsafe { libc::usleep(10_000) };
        }
    }
}

fn with_constructor(mode: &str) {
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var(MODE, mode) };
}

#[pool_task]
fn open_zeros() -> usize {
    tests::leaks::fds().values().filter(|target| *target == "/dev/zero").count()
}

fn descriptors_of_a_constructor_are_there_once(setup: &Setup) {
    with_constructor("opens");
    assert_eq!(setup.pool().apply(open_zeros::Task, ()).unwrap(), 1);
}

fn threads_of_a_constructor_keep_no_death_secret(setup: &Setup) {
    with_constructor("sleeps");
    let pool = setup.pool();
    for _ in 0..20 {
        let mut end = pool.apply_async(crash::Task, Some(Way::Abort)).unwrap();
        let error = end.get_timeout(procs::SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    }
    assert_works(&pool, setup);
    pool.close();
    pool.join_timeout(procs::SOON).unwrap();
}

fn a_constructor_may_have_signals_of_children_ignored(setup: &Setup) {
    with_constructor("ignores");
    assert_deaths_are_told(setup);
}

fn a_thread_that_takes_statuses_keeps_no_death_secret(setup: &Setup) {
    with_constructor("reaps");
    assert_deaths_are_told(setup);
}

/// However it ended, which cannot be known here in each case.
fn assert_deaths_are_told(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(3).build().unwrap();
    for _ in 0..10 {
        let mut end = pool.apply_async(crash::Task, Some(Way::Kill)).unwrap();
        let error = end.get_timeout(procs::SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        let text = error.to_string();
        assert!(text.contains("signal 9") || text.contains("waits for all children"), "{text}");
        assert_eq!(pool.apply(square::Task.retries(5), 3).unwrap(), 9);
    }
    pool.close();
    pool.join_timeout(procs::SOON).unwrap();
}

fn a_copy_of_the_fork_server_does_not_hide_its_end(setup: &Setup) {
    let path = format!("{}/keep-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&path, "").unwrap();
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var(KEEP, &path) };
    with_constructor("forks");
    let pool = setup.pool();
    let server = fork_server().pid;
    assert!(eventually(|| procs::children(server).len() == setup.workers + 1));
    let mut job = pool.apply_async(nap::Task, 30_000).unwrap();
    nap(200);
    procs::kill_9(server);
    let ended = job.get_timeout(procs::SOON);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::WorkerDied);
    drop(pool);
}

fn the_end_of_the_fork_server_is_told_with_its_signal(setup: &Setup) {
    let pool = setup.builder().restart_limit(2).build().unwrap();
    let ends = [(Signal::SIGTERM, "signal 15 (SIGTERM)"), (Signal::SIGKILL, "signal 9 (SIGKILL)")];
    for (signal, words) in ends {
        assert!(eventually(|| pool.worker_pids().len() == setup.workers));
        // A worker is ready, and begins the task at once.
        pool.apply(pid::Task.retries(5), ()).unwrap();
        let mut job = pool.apply_async(nap::Task, 30_000).unwrap();
        nap(200);
        procs::signal(fork_server().pid, signal);
        let error = job.get_timeout(procs::SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        let expected = format!("the fork server was killed by {words}, and its workers with it");
        assert!(error.to_string().ends_with(&expected), "{error}");
        if setup.method == StartMethod::Fork {
            let error = pool.apply(square::Task, 3).unwrap_err();
            return assert!(error.to_string().contains("the fork server died, and only"), "{error}");
        }
        assert_eq!(pool.apply(square::Task.retries(5), 3).unwrap(), 9);
    }
}

fn the_death_of_a_worker_is_seen_although_the_fork_server_is_stopped(setup: &Setup) {
    let (pool, gate) = (setup.pool(), Gate::new());
    let mut running = pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
    // An item that has not begun would run elsewhere.
    gate.wait();
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    procs::signal(fork_server().pid, Signal::SIGSTOP);
    pool.worker_pids().into_iter().for_each(procs::kill_9);
    let error = running.get_timeout(procs::SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
}

fn a_silent_fork_server_is_given_up_and_that_is_told(setup: &Setup) {
    let pool = setup.pool();
    pool.apply(pid::Task, ()).unwrap();
    let mut other = pool.apply_async(nap::Task, 30_000).unwrap();
    nap(200);
    procs::signal(fork_server().pid, Signal::SIGSTOP);
    // The worker of this one is killed, and its death is waited for.
    let mut late = pool.apply_async(nap::Task.timeout(Duration::from_millis(50)), 30_000).unwrap();
    assert_eq!(late.get_timeout(procs::SOON).unwrap_err().kind(), ErrorKind::TaskTimeout);
    let error = other.get_timeout(procs::SOON).unwrap_err();
    assert!(
        error.to_string().ends_with("the fork server did not answer and was killed, and its workers with it"),
        "{error}"
    );
}

fn a_second_pool_of_copies_waits_for_the_end_of_the_first(setup: &Setup) {
    let first = setup.pool();
    let error = setup.builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("after the end of any other pool"), "{error}");
    drop(first);
    assert!(eventually(|| tests::leaks::threads().len() == 1));
    assert_works(&setup.pool(), setup);
}

static IS_FIRST: AtomicBool = AtomicBool::new(true);

#[pool_task]
fn fail(starts: &str) {
    use std::io::Write;
    assert!(IS_FIRST.swap(false, Ordering::Relaxed), "an initializer runs once in a process");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(starts).unwrap();
    file.write_all(b".").unwrap();
    std::process::exit(1);
}

fn a_pool_is_broken_after_as_many_restarts_as_are_allowed(setup: &Setup) {
    for restarts in [0, 2] {
        let path = format!("{}/starts-{}-{restarts}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let builder = setup.builder().workers(1).restart_limit(restarts);
        let pool = builder.initializer(fail::Task, &path).build().unwrap();
        assert_eq!(pool.apply(square::Task, 3).unwrap_err().kind(), ErrorKind::Broken);
        assert_eq!(std::fs::read(&path).unwrap().len(), restarts as usize + 1);
        std::fs::remove_file(path).unwrap();
    }
}

fn makes_a_pool(setup: &Setup) {
    match setup.builder().build() {
        Ok(pool) => say(pool.apply(square::Task, 3).unwrap()),
        Err(error) => say(error),
    }
}

/// The program that the kernel starts in order to start this one; a static program has none.
fn loader() -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| Some(line[line.find('/')?..].to_owned()));
    paths.into_iter().find(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-")))
}

fn a_program_that_its_loader_has_started_says_so(setup: &Setup) {
    let Some(loader) = loader() else { return say("left out: there is no loader") };
    let mut command = std::process::Command::new(&loader);
    let output = command.arg(std::env::current_exe().unwrap()).args(Host::args(makes_a_pool, setup)).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = if setup.method == StartMethod::Fork { "9" } else { "start the program directly" };
    assert!(output.status.success() && said.contains(expected), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(setup.method == StartMethod::Fork || said.contains(&loader), "{said}");
}
