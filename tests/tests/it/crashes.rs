//! Tasks that panic, and their errors.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use pool_core::prelude::*;
use tests::tasks::{Way, crash, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_remote_panic_keeps_its_message_place_task_and_pid),
        each_method(a_remote_panic_has_a_backtrace_if_the_environment_says_so),
        each_method(odd_panics_are_still_errors),
        each_method(a_panic_while_panicking_keeps_its_message).noisy(),
        each_method(a_panic_that_aborts_keeps_its_message),
        each_method(a_panic_that_the_task_has_caught_is_no_cause_of_death),
        each_method(a_panic_of_another_thread_is_no_cause_of_death).noisy(),
        each_method(a_panic_of_another_thread_that_aborts_keeps_its_message).noisy(),
        each_method(looking_up_a_backtrace_is_not_the_items_time),
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
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    assert!(error.panic_message().is_some() && error.to_string().contains("SIGABRT"), "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

/// The kind of a panic in a program built with `panic = "abort"`.
#[pool_task]
fn panic_and_abort(text: &str) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        std::process::abort();
    }));
    panic!("{text}");
}

fn a_panic_that_aborts_keeps_its_message(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(panic_and_abort::Task, "the end").unwrap_err();
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("the end")), "{error}");
    assert!(error.location().unwrap().contains("crashes.rs:"), "{error}");
    let text = format!("panicked at {}: the end (killed by signal 6 (SIGABRT))", error.location().unwrap());
    assert!(error.to_string().ends_with(&text), "{error}");
    assert_eq!(error.exit_status().and_then(|status| status.signal()), Some(libc::SIGABRT));
}

#[pool_task]
fn catch_and_go(way: Option<Way>) {
    let _ = std::panic::catch_unwind(|| panic!("caught in time"));
    if let Some(way) = way {
        way.go();
    }
}

fn a_panic_that_the_task_has_caught_is_no_cause_of_death(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    for way in [Way::ExitThree, Way::Segfault, Way::Kill, Way::Abort] {
        let error = pool.apply(catch_and_go::Task, Some(way)).unwrap_err();
        assert_eq!((error.panic_message(), error.to_string().contains("caught")), (None, false), "{error}");
    }
    pool.apply(catch_and_go::Task, None).unwrap();
    let error = pool.apply(crash::Task, Some(Way::Abort)).unwrap_err();
    assert_eq!((error.panic_message(), error.to_string().contains("caught")), (None, false), "{error}");
}

#[pool_task]
fn have_a_thread_panic(way: Way) {
    assert!(std::thread::spawn(|| panic!("of a thread")).join().is_err());
    way.go();
}

fn a_panic_of_another_thread_is_no_cause_of_death(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    for way in [Way::ExitThree, Way::Segfault, Way::Kill, Way::Abort] {
        let error = pool.apply(have_a_thread_panic::Task, way).unwrap_err();
        assert_eq!((error.kind(), error.panic_message()), (ErrorKind::WorkerDied, None), "{error}");
        assert!(!error.to_string().contains("of a thread"), "{error}");
    }
}

#[pool_task]
fn have_a_thread_panic_and_abort() {
    let _ = std::thread::spawn(|| panic_and_abort("the end of a thread")).join();
}

fn a_panic_of_another_thread_that_aborts_keeps_its_message(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(have_a_thread_panic_and_abort::Task, ()).unwrap_err();
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("the end of a thread")), "{error}");
}

/// Has a long stack, which is quickly walked, and functions with names that take long to be looked up.
#[pool_task]
fn nap_and_panic_in_the_deep(time: Duration, depth: u32) -> u32 {
    std::thread::sleep(time);
    panic_in_the_deep(depth)
}

fn panic_in_the_deep(depth: u32) -> u32 {
    assert!(depth > 0, "deep enough");
    std::hint::black_box(panic_in_the_deep(depth - 1)) + 1
}

fn looking_up_a_backtrace_is_not_the_items_time(setup: &Setup) {
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var("RUST_BACKTRACE", "full") };
    // Each time by a process that has not looked anything up yet.
    let pool = setup.with_workers(1).builder().max_tasks_per_worker(1).build().unwrap();
    let start = Instant::now();
    let task = nap_and_panic_in_the_deep::Task;
    let error = pool.apply(task, (Duration::ZERO, 20_000)).unwrap_err();
    // Most of the time goes into the names. With it, the item below would be over its limit.
    let time = start.elapsed();
    assert!(error.backtrace().unwrap().matches("panic_in_the_deep").count() > 20_000);
    let error = pool.apply(task.timeout(2 * time), (time * 8 / 5, 20_000)).unwrap_err();
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("deep enough")), "{error}");
    assert!(error.backtrace().unwrap().matches("panic_in_the_deep").count() > 20_000);
}
