//! Items that are worth another attempt: after a death and, if asked, after a panic.

use std::thread::sleep;
use std::time::Instant;

use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, count};
use tests::leaks::threads;
use tests::procs::eventually;
use tests::tasks::{Way, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_task_that_dies_the_first_times_succeeds_with_retries),
        each_method(retries_that_do_not_suffice_end_in_the_last_death),
        each_method(neither_a_panic_nor_an_error_is_retried),
        everywhere(a_panic_is_retried_when_asked),
        each_method(a_panic_counts_like_a_death),
        once(an_attempt_comes_later_than_the_one_before),
        each_method(an_item_that_waits_for_an_attempt_holds_up_nobody).workers(&[1]),
        each_method(an_item_that_waits_for_an_attempt_can_be_cancelled).workers(&[1, 2]),
        each_method(an_item_that_waits_for_an_attempt_is_terminated),
        each_method(join_waits_for_an_item_that_waits_for_an_attempt).workers(&[1, 2]),
        each_method(an_item_that_waits_for_an_attempt_breaks_with_the_pool).workers(&[1]),
    ]
}

#[pool_task]
fn die_at_first(calls: &str, deaths: usize, way: Way) -> usize {
    let before = count(calls);
    if before < deaths {
        way.go();
    }
    before
}

fn a_task_that_dies_the_first_times_succeeds_with_retries(setup: &Setup) {
    let pool = setup.pool();
    for way in [Way::ExitZero, Way::Abort, Way::StackOverflow, Way::Kill] {
        let calls = Gate::new();
        let task = die_at_first::Task.retries(3);
        assert_eq!(pool.apply(task, (calls.path(), 3, way)).unwrap(), 3);
        // In a map each item has its own tries, and the others run once.
        let gates: Vec<_> = (0..10).map(|_| Gate::new()).collect();
        let items = (0..).zip(&gates).map(|(item, gate)| (gate.path(), if item == 4 { 2 } else { 0 }, way));
        let tries = pool.map(task.chunk_size(5), items).unwrap();
        assert_eq!(tries, [0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
    }
}

fn retries_that_do_not_suffice_end_in_the_last_death(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let error = pool.apply(die_at_first::Task.retries(2), (calls.path(), 99, Way::ExitThree)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    assert_eq!(calls.count(), 3);
    // A pool may be patient by default, and a call may still not be.
    let patient = Gate::new();
    let pool = {
        drop(pool);
        setup.builder()
    }
    .retries(2);
    assert!(tests::procs::eventually(|| tests::leaks::threads().len() == 1));
    let pool = pool.build().unwrap();
    assert_eq!(pool.apply(die_at_first::Task, (patient.path(), 2, Way::Kill)).unwrap(), 2);
    let hasty = Gate::new();
    let error = pool.apply(die_at_first::Task.retries(0), (hasty.path(), 2, Way::Kill)).unwrap_err();
    assert_eq!((error.kind(), hasty.count()), (ErrorKind::WorkerDied, 1));
}

fn neither_a_panic_nor_an_error_is_retried(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let error = pool.apply(die_at_first::Task.retries(5), (calls.path(), 99, Way::Panic)).unwrap_err();
    assert_eq!((error.kind(), calls.count()), (ErrorKind::Panicked, 1));
}

#[pool_task(retries = 2, retry_panics)]
fn panic_at_first(calls: &str, panics: usize) -> (usize, u32) {
    let before = count(calls);
    assert!(before >= panics, "call {before}");
    (before, std::process::id())
}

fn a_panic_is_retried_when_asked(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let calls = Gate::new();
    let (before, pid) = pool.apply(panic_at_first::Task, (calls.path(), 2)).unwrap();
    assert!(before == 2 && pids.contains(&pid));
    // In a map each item has its own tries, and the others run once.
    let gates: Vec<_> = (0..20).map(|_| Gate::new()).collect();
    let items = (0..).zip(&gates).map(|(item, gate)| (gate.path(), if item % 7 == 4 { 2 } else { 0 }));
    for (item, (before, _)) in (0..).zip(pool.map(panic_at_first::Task.chunk_size(10), items).unwrap()) {
        assert_eq!(before, if item % 7 == 4 { 2 } else { 0 });
    }
    // The attribute's and the call's number of attempts, and the last of several panics.
    for (task, attempts) in [(panic_at_first::Task.chunk_size(1), 3), (panic_at_first::Task.retries(0), 1)] {
        let calls = Gate::new();
        let error = pool.apply(task, (calls.path(), 99)).unwrap_err();
        assert_eq!((error.kind(), calls.count()), (ErrorKind::Panicked, attempts), "{error}");
        assert_eq!(error.panic_message().unwrap(), format!("call {}", attempts - 1));
    }
    assert_eq!(pool.worker_pids(), pids, "no worker was hurt");
}

#[pool_task]
fn panic_then_die(calls: &str) -> usize {
    match count(calls) {
        0 => Way::Panic.go(),
        1 => Way::Abort.go(),
        before => before,
    }
}

fn a_panic_counts_like_a_death(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    assert_eq!(pool.apply(panic_then_die::Task.retries(2).retry_panics(), calls.path()).unwrap(), 2);
    let calls = Gate::new();
    let error = pool.apply(panic_then_die::Task.retries(1).retry_panics(), calls.path()).unwrap_err();
    assert_eq!((error.kind(), calls.count()), (ErrorKind::WorkerDied, 2), "{error}");
}

fn an_attempt_comes_later_than_the_one_before(setup: &Setup) {
    let pool = setup.pool();
    for way in [Way::Kill, Way::Panic] {
        let (calls, start) = (Gate::new(), Instant::now());
        assert_eq!(pool.apply(die_at_first::Task.retries(4).retry_panics(), (calls.path(), 4, way)).unwrap(), 4);
        assert!(start.elapsed() >= Duration::from_millis(10 + 20 + 40 + 80), "{:?}", start.elapsed());
    }
}

/// A call that will wait for its next attempt most of the time, as it has died so often.
fn submit_hopeless(pool: &Pool, calls: &Gate) -> AsyncResult<usize> {
    let job = pool.apply_async(die_at_first::Task.retries(1000), (calls.path(), 1000, Way::Kill)).unwrap();
    assert!(eventually(|| calls.count() >= 6));
    job
}

fn an_item_that_waits_for_an_attempt_holds_up_nobody(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let hopeless = submit_hopeless(&pool, &calls);
    for x in 0..100 {
        assert_eq!(pool.apply(square::Task, x).unwrap(), x * x);
    }
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    assert!(!hopeless.ready());
    assert_eq!(pool.stats().items_pending, 1);
}

fn an_item_that_waits_for_an_attempt_can_be_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let hopeless = submit_hopeless(&pool, &calls);
    assert!(hopeless.cancel());
    assert!(!hopeless.cancel());
    assert_eq!(hopeless.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.stats().items_pending, 0);
    // One that was running is killed.
    assert!(eventually(|| pool.worker_pids().len() == setup.workers));
    let made = calls.count();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    sleep(Duration::from_millis(1400));
    assert_eq!(calls.count(), made, "it was tried again after it had been cancelled");
    pool.close();
    pool.join().unwrap();
}

fn an_item_that_waits_for_an_attempt_is_terminated(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let hopeless = submit_hopeless(&pool, &calls);
    pool.terminate();
    assert_eq!(hopeless.get().unwrap_err().kind(), ErrorKind::Terminated);
    pool.join().unwrap();
}

fn join_waits_for_an_item_that_waits_for_an_attempt(setup: &Setup) {
    for way in [Way::Abort, Way::Panic] {
        let pool = setup.builder().idle_timeout(Duration::ZERO).build().unwrap();
        let calls = Gate::new();
        let task = die_at_first::Task.retries(4).retry_panics();
        let job = pool.apply_async(task, (calls.path(), 4, way)).unwrap();
        pool.close();
        pool.join().unwrap();
        assert!(job.ready());
        assert_eq!(job.get().unwrap(), 4);
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}

#[pool_task]
fn refuse_the_second(calls: &str) -> Result<(), String> {
    if count(calls) == 0 { Ok(()) } else { Err("once is enough".to_owned()) }
}

fn an_item_that_waits_for_an_attempt_breaks_with_the_pool(setup: &Setup) {
    let (starts, calls) = (Gate::new(), Gate::new());
    let builder = setup.builder().initializer(refuse_the_second::Task, starts.path()).restart_limit(0);
    let pool = builder.build().unwrap();
    let error = pool.apply(die_at_first::Task.retries(5), (calls.path(), 99, Way::Kill)).unwrap_err();
    assert_eq!((error.kind(), calls.count()), (ErrorKind::Broken, 1), "{error}");
    assert!(error.to_string().ends_with("refuse_the_second` failed: once is enough"), "{error}");
    assert_eq!(pool.state(), PoolState::Broken);
}
