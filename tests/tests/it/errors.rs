//! The facts that an error tells: the attempt, the time that it ran, how the worker ended, and the process that killed it.

use std::os::unix::process::ExitStatusExt;

use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, count, open_and_hang};
use tests::leaks::threads;
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, crash, nap, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(after_a_time_limit_the_status_is_that_of_the_killed_worker),
        each_method(attempts_count_the_retries_that_were_used),
        each_method(a_panic_tells_how_long_the_call_ran),
        each_method(a_death_under_a_time_limit_tells_how_long_the_item_ran),
        each_method(a_kill_from_outside_is_told_from_one_of_the_pool),
        each_method(debug_begins_with_the_sentence),
        each_method(a_submission_that_is_refused_names_its_task_and_the_reason),
        each_method(a_pools_time_limit_of_zero_is_refused),
    ]
}

const LIMIT: Duration = Duration::from_millis(200);

fn after_a_time_limit_the_status_is_that_of_the_killed_worker(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(nap::Task.timeout(LIMIT), 30_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TaskTimeout, "{error}");
    assert_eq!(error.exit_status().and_then(|status| status.signal()), Some(libc::SIGKILL), "{error}");
    assert_eq!(error.attempts(), 1);
    let ran = error.ran().expect("how long it ran");
    assert!(ran >= LIMIT && ran < Duration::from_millis(30_000), "{ran:?}");
    let again = pool.map_results(nap::Task.timeout(LIMIT).retries(1), [1, 30_000]).unwrap().remove(1).unwrap_err();
    assert_eq!((again.attempts(), again.item()), (2, Some(1)), "{again}");
    assert!(again.ran().is_some_and(|ran| ran >= LIMIT) && again.exit_status().is_some(), "{again}");
    assert!(again.is_retryable());
}

#[pool_task]
fn panic_after(calls: &str, ms: u64) {
    count(calls);
    nap(ms);
    panic!("on purpose");
}

fn attempts_count_the_retries_that_were_used(setup: &Setup) {
    let pool = setup.pool();
    for retries in [0, 1, 3] {
        let died = pool.apply(crash::Task.retries(retries), Some(Way::Segfault)).unwrap_err();
        assert_eq!((died.kind(), died.attempts()), (ErrorKind::WorkerDied, retries + 1), "{died}");
        let calls = Gate::new();
        let panicked = pool.apply(panic_after::Task.retries(retries).retry_panics(), (calls.path(), 0)).unwrap_err();
        assert_eq!((panicked.kind(), panicked.attempts()), (ErrorKind::Panicked, retries + 1), "{panicked}");
        assert_eq!(calls.count(), retries as usize + 1);
    }
    // A panic that is not retried ends it at once.
    let panicked = pool.apply(crash::Task.retries(3), Some(Way::Panic)).unwrap_err();
    assert_eq!((panicked.kind(), panicked.attempts()), (ErrorKind::Panicked, 1), "{panicked}");
    // No attempt is to blame.
    let waiting = pool.apply_async(nap::Task, 30_000).unwrap();
    assert!(waiting.cancel());
    assert_eq!(waiting.get().unwrap_err().attempts(), 0);
    pool.close();
    assert_eq!(pool.apply(square::Task, 1).unwrap_err().attempts(), 0);
}

fn a_panic_tells_how_long_the_call_ran(setup: &Setup) {
    // No other worker takes a part of the chunks.
    let pool = setup.with_workers(1).pool();
    let calls = Gate::new();
    let least = Duration::from_millis(60);
    for task in [panic_after::Task.retries(0), panic_after::Task.timeout(Duration::from_secs(60))] {
        let error = pool.apply(task, (calls.path(), 60)).unwrap_err();
        assert!(error.ran().is_some_and(|ran| ran >= least && ran < Duration::from_secs(60)), "{error:?}");
    }
    // Each item's own time, and none that could be another's.
    let limited = panic_after::Task.timeout(Duration::from_secs(60)).chunk_size(4);
    let results = pool.map_results(limited, [0, 60, 0, 60].map(|ms| (calls.path(), ms))).unwrap();
    let ran: Vec<_> = results.into_iter().map(|result| result.unwrap_err().ran().expect("a time")).collect();
    assert!(ran[1] >= least && ran[3] >= least, "{ran:?}");
    let slow = Duration::from_millis(1000);
    let results = pool.map_results(panic_after::Task.chunk_size(4), [0, 1000, 0, 0, 0, 0].map(|ms| (calls.path(), ms)));
    let ran: Vec<_> = results.unwrap().into_iter().map(|result| result.unwrap_err().ran()).collect();
    assert!(ran[1].is_none_or(|ran| ran >= slow), "{ran:?}");
    assert!(ran.iter().enumerate().all(|(item, ran)| item == 1 || ran.is_none_or(|ran| ran < slow)), "{ran:?}");
    let unlimited = panic_after::Task.timeout(Duration::MAX);
    let ran = pool.apply(unlimited, (calls.path(), 0)).unwrap_err().ran();
    assert!(ran.is_none_or(|ran| ran < Duration::from_secs(60)), "{ran:?}");
}

#[pool_task]
fn abort_after(ms: u64) {
    nap(ms);
    std::process::abort();
}

fn a_death_under_a_time_limit_tells_how_long_the_item_ran(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(abort_after::Task.timeout(Duration::from_secs(60)), 60).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    let ran = error.ran().expect("a time");
    assert!(ran >= Duration::from_millis(60) && ran < Duration::from_secs(60), "{ran:?}");
    assert_eq!(pool.apply(abort_after::Task, 1).unwrap_err().ran(), None, "nobody looked at the clock");
}

/// Whether the kernel of this machine tells how often it has killed for want of memory.
fn kernel_counts_kills() -> bool {
    std::fs::read_to_string("/proc/vmstat").is_ok_and(|text| text.lines().any(|line| line.starts_with("oom_kill ")))
}

fn a_kill_from_outside_is_told_from_one_of_the_pool(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let hanging = pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
    gate.wait();
    let before = pool.worker_pids();
    before.into_iter().for_each(kill_9);
    let error = hanging.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    let text = error.to_string();
    assert!(text.contains("killed by signal 9 (SIGKILL), "), "{text}");
    // Meanwhile the kernel may really have killed another process of the machine.
    let is_known = text.ends_with(", not by this pool") || text.ends_with(", probably out of memory");
    assert_eq!(is_known, kernel_counts_kills(), "{text}");
}

fn debug_begins_with_the_sentence(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(crash::Task, Some(Way::ExitThree)).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.starts_with(&format!("{error} {{ kind: WorkerDied, task: ")), "{text}");
    assert!(text.contains("attempts: 1") && !text.contains("Repr"), "{text}");
}

#[pool_task]
fn refuse() -> Result<(), String> {
    Err("no license".to_owned())
}

fn a_submission_that_is_refused_names_its_task_and_the_reason(setup: &Setup) {
    let refusals = |pool: &Pool| {
        [
            pool.apply(square::Task, 1).unwrap_err(),
            pool.apply_async(square::Task, 1).unwrap_err(),
            pool.map(square::Task, 0..3).unwrap_err(),
            pool.map_async(square::Task, 0..3).unwrap_err(),
            pool.map_results(square::Task, 0..3).unwrap_err(),
            pool.imap(square::Task, 0..3).unwrap_err(),
            pool.imap_unordered(square::Task, 0..3).unwrap_err(),
        ]
    };
    let assert_all = |pool: &Pool, kind| {
        for error in refusals(pool) {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.task().is_some_and(|task| task.ends_with("::square")), "{error}");
        }
        assert_eq!(pool.resize(3).unwrap_err().kind(), kind);
    };
    let broken = setup.builder().restart_limit(0).initializer(refuse::Task, ()).build().unwrap();
    assert!(eventually(|| broken.state() == PoolState::Broken));
    assert_all(&broken, ErrorKind::Broken);
    let text = broken.apply(square::Task, 1).unwrap_err().to_string();
    assert!(text.ends_with("::refuse` failed: no license"), "{text}");
    broken.join().unwrap();
    drop(broken);
    assert!(eventually(|| threads().len() == 1));
    let pool = setup.pool();
    pool.close();
    assert_all(&pool, ErrorKind::Closed);
    pool.terminate();
    assert_all(&pool, ErrorKind::Closed);
}

fn a_pools_time_limit_of_zero_is_refused(setup: &Setup) {
    let error = setup.builder().task_timeout(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("task_timeout"), "{error}");
}
