//! Tasks that end their worker, or try to: what the error says, and that nobody else is hurt.

use pool_core::prelude::*;
use tests::procs::{descendants, eventually, is_alive};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_remote_panic_keeps_its_message_place_task_and_pid),
        each_method(a_remote_panic_has_a_backtrace_if_the_environment_says_so),
        each_method(odd_panics_are_still_errors),
        each_method(a_panic_while_panicking_keeps_its_message).noisy(),
        each_method(what_a_task_has_started_dies_with_its_worker),
        each_method(the_copy_that_a_task_forks_takes_no_jobs),
        each_method(a_task_may_close_all_descriptors),
        each_method(a_task_that_scribbles_over_shared_memory_hurts_nobody_else),
    ]
}

const LINE: u32 = line!() + 4;

#[pool_task]
fn explode(text: &str) {
    panic!("{text} is too much");
}

fn a_remote_panic_keeps_its_message_place_task_and_pid(setup: &Setup) {
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let error = pool.apply(explode::Task, "this").unwrap_err();
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("this is too much")));
    assert_eq!(error.task(), Some("it::crashes::explode"));
    assert!(pids.contains(&error.worker_pid().unwrap()));
    assert!(error.location().unwrap().ends_with(&format!("crashes.rs:{LINE}:5")), "{:?}", error.location());
    assert_eq!((error.backtrace(), error.exit_status().is_none()), (None, true));
    let (pid, place) = (error.worker_pid().unwrap(), error.location().unwrap());
    let text = format!("task `it::crashes::explode`, worker {pid}: panicked at {place}: this is too much");
    assert_eq!(error.to_string(), text);
    // A long message arrives whole.
    let long = "x".repeat(300_000);
    assert_eq!(pool.apply(explode::Task, &long).unwrap_err().panic_message().unwrap().len(), long.len() + 12);
    assert_eq!(pool.worker_pids(), pids);
}

fn a_remote_panic_has_a_backtrace_if_the_environment_says_so(setup: &Setup) {
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "1") };
    let pool = setup.pool();
    let error = pool.apply(explode::Task, "this").unwrap_err();
    assert!(error.backtrace().unwrap().contains("explode"), "{:?}", error.backtrace());
}

#[pool_task]
fn panic_with_a_number() {
    std::panic::panic_any(42_u64);
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[pool_task]
fn panic_with_a_grenade() {
    std::panic::panic_any(Grenade);
}

#[pool_task]
fn panic_while_panicking() {
    let _grenade = Grenade;
    panic!("first");
}

fn odd_panics_are_still_errors(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        let error = pool.apply(panic_with_a_number::Task, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
        let error = pool.apply(panic_with_a_grenade::Task, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
        assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    }
}

fn a_panic_while_panicking_keeps_its_message(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(panic_while_panicking::Task, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    assert!(error.panic_message().is_some() && error.to_string().contains("SIGABRT"), "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

#[pool_task]
#[expect(clippy::zombie_processes, reason = "whether somebody else ends it is the question")]
fn start_a_sleeper(and_die: bool) -> u32 {
    let sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    if and_die {
        std::process::abort();
    }
    sleeper.id()
}

fn what_a_task_has_started_dies_with_its_worker(setup: &Setup) {
    let pool = setup.pool();
    let _ = pool.apply(start_a_sleeper::Task, true).unwrap_err();
    assert!(eventually(|| descendants().iter().all(|process| process.name != "sleep")), "{:?}", descendants());
    let sleeper = pool.apply(start_a_sleeper::Task, false).unwrap();
    assert!(is_alive(sleeper));
    drop(pool);
    assert!(eventually(|| !is_alive(sleeper)), "it outlived its worker");
}

#[pool_task]
fn fork_and_return() -> u32 {
    // SAFETY:
    // - the worker has one thread.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => child.as_raw() as u32,
        nix::unistd::ForkResult::Child => std::process::id(),
    }
}

fn the_copy_that_a_task_forks_takes_no_jobs(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let copy = pool.apply(fork_and_return::Task, ()).unwrap();
    assert_ne!(copy, pool.worker_pids()[0]);
    for _ in 0..10 {
        let pids = pool.map(tests::tasks::pid::Task, [(); 50]).unwrap();
        assert!(!pids.contains(&copy), "the copy took a job");
    }
    drop(pool);
    assert!(eventually(|| !is_alive(copy)));
}

#[pool_task]
fn close_everything() {
    // SAFETY:
    // - it breaks whatever owns a descriptor, which is what this is for; the worker uses none of them afterwards.
    unsafe { libc::close_range(0, u32::MAX, 0) };
}

fn a_task_may_close_all_descriptors(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        pool.apply(close_everything::Task, ()).unwrap();
    }
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
}

/// Fills every writable shared mapping of this process.
#[pool_task]
fn scribble(calls: &str) -> usize {
    tests::gate::count(calls);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut bytes = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-s ") && line.contains("memfd:")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
        let memory = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY:
        // - the memory is mapped and writable; that others share it is what this is for.
        unsafe { memory.write_bytes(0xA5, end - start) };
        bytes += end - start;
    }
    std::thread::sleep(Duration::from_millis(20));
    bytes
}

fn a_task_that_scribbles_over_shared_memory_hurts_nobody_else(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..5 {
        let calls = tests::gate::Gate::new();
        let scribbling = pool.apply_async(scribble::Task, calls.path()).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        // Unless its host has looked meanwhile, what it writes in the end is as it should be.
        match scribbling.get() {
            Ok(bytes) => assert!(bytes > 128 << 10),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::WorkerDied), "{error}"),
        }
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
        assert_eq!(calls.count(), 1, "it ran again elsewhere");
    }
}
