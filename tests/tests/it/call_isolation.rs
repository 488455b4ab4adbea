//! Short calls travel together in one chunk, and are isolated from each other all the same: a hang, crash, panic, limit or
//! cancel of one does not affect the others.

use std::fs;
use std::thread;

use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::procs::SOON;
use tests::tasks::Way;
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(results_come_although_a_neighbour_hangs).workers(&[1, 2]),
        everywhere(a_crash_takes_no_neighbour_along),
        each_method(a_limit_is_each_calls_own).workers(&[1, 2]),
        each_method(a_panic_is_one_calls).workers(&[1, 2]),
        everywhere(any_of_them_can_be_cancelled),
        each_method(all_of_them_end_with_the_pool).workers(&[1, 2]),
        each_method(long_and_short_arguments_mix),
    ]
}

/// The behaviour of a call.
type Deed<'a> = (u64, Option<Way>, &'a str);

/// Usually short.
#[pool_task]
fn act(number: u64, way: Option<Way>, file: &str) -> u64 {
    if let Some(way) = way {
        way.go();
    }
    if !file.is_empty() {
        fs::write(file, "").unwrap();
    }
    number
}

#[pool_task]
fn act_or_hang(number: u64, hangs: bool) -> u64 {
    if hangs {
        loop {
            thread::park();
        }
    }
    number
}

#[pool_task]
fn act_or_panic(number: u64) -> u64 {
    assert!(!number.is_multiple_of(7), "{number} is a multiple of 7");
    number
}

/// Keeps all workers busy until the gate opens, so that calls submitted meanwhile travel together.
fn hold(pool: &Pool, gate: &Gate) -> Vec<AsyncResult<u32>> {
    (0..pool.workers()).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect()
}

/// A pool that knows how short the calls are.
fn pool_for<T: Task<Output = u64>>(setup: &Setup, task: T, args: impl Fn(u64) -> T::Args<'static>) -> Pool {
    let pool = setup.pool();
    assert_eq!(pool.map(task, (1..500).map(|number| args(7 * number + 1))).unwrap().len(), 499);
    pool
}

fn results_come_although_a_neighbour_hangs(setup: &Setup) {
    let pool = pool_for(setup, act_or_hang::Task, |number| (number, false));
    let gate = Gate::new();
    let held = hold(&pool, &gate);
    let calls: Vec<_> =
        (0..300).map(|number| pool.apply_async(act_or_hang::Task, (number, number == 100)).unwrap()).collect();
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()));
    // One worker is lost to the hanging one: with only one, those behind it wait.
    let behind = if setup.workers == 1 { 101 } else { 300 };
    for (number, call) in calls.iter().enumerate().take(behind).filter(|(number, _)| *number != 100) {
        assert!(call.wait_timeout(SOON), "call {number} has no outcome");
    }
    assert!(!calls[100].ready());
    assert!(calls[100].cancel() && !calls[100].cancel());
    for (number, call) in (0..).zip(calls) {
        let outcome = call.get().map_err(|error| error.kind());
        assert_eq!(outcome, if number == 100 { Err(ErrorKind::Cancelled) } else { Ok(number) });
    }
    assert_eq!(pool.stats().items_pending, 0);
    assert_eq!(pool.stats().jobs_submitted, pool.stats().jobs_finished);
}

fn a_crash_takes_no_neighbour_along(setup: &Setup) {
    let pool = pool_for(setup, act::Task, |number| (number, None, ""));
    let gate = Gate::new();
    let held = hold(&pool, &gate);
    let ways = [(50, Way::Abort), (51, Way::Kill), (170, Way::ExitZero)];
    let way = |number| ways.iter().find(|(at, _)| *at == number).map(|(_, way)| *way);
    let deed = |number| -> Deed<'_> { (number, way(number), "") };
    let calls: Vec<_> = (0..300).map(|number| pool.apply_async(act::Task, deed(number)).unwrap()).collect();
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()));
    for (number, call) in (0..).zip(calls) {
        let outcome = call.get();
        if way(number).is_some() {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.item()), (ErrorKind::WorkerDied, None), "{error}");
        } else {
            assert_eq!(outcome.unwrap(), number);
        }
    }
    assert_eq!(pool.stats().workers_died, 2, "exit code 0 is no death");
}

fn a_limit_is_each_calls_own(setup: &Setup) {
    let pool = pool_for(setup, act_or_hang::Task, |number| (number, false));
    let gate = Gate::new();
    let held = hold(&pool, &gate);
    let task = act_or_hang::Task.timeout(Duration::from_millis(300));
    let calls: Vec<_> = (0..200).map(|number| pool.apply_async(task, (number, number == 90)).unwrap()).collect();
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()));
    for (number, call) in (0..).zip(calls) {
        let outcome = call.get().map_err(|error| error.kind());
        assert_eq!(outcome, if number == 90 { Err(ErrorKind::TaskTimeout) } else { Ok(number) });
    }
}

fn a_panic_is_one_calls(setup: &Setup) {
    let pool = pool_for(setup, act_or_panic::Task, |number| number);
    let gate = Gate::new();
    let held = hold(&pool, &gate);
    let calls: Vec<_> = (0..300).map(|number| pool.apply_async(act_or_panic::Task, number).unwrap()).collect();
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()));
    for (number, call) in (0..).zip(calls) {
        let outcome = call.get();
        if number % 7 == 0 {
            let error = outcome.unwrap_err();
            let message = format!("{number} is a multiple of 7");
            assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some(&*message)));
        } else {
            assert_eq!(outcome.unwrap(), number);
        }
    }
}

fn any_of_them_can_be_cancelled(setup: &Setup) {
    const CALLS: u64 = 300;
    let pool = pool_for(setup, act::Task, |number| (number, None, ""));
    let gate = Gate::new();
    let held = hold(&pool, &gate);
    let files: Vec<_> = (0..CALLS).map(|_| Gate::new()).collect();
    let deed = |number| -> Deed<'_> { (number, None, files[number as usize].path()) };
    let calls: Vec<_> = (0..CALLS).map(|number| pool.apply_async(act::Task, deed(number)).unwrap()).collect();
    let is_cancelled = |number: u64| number % 3 == 1;
    // In no order: 7 and 300 have no common divisor.
    for number in (0..CALLS).map(|at| 7 * at % CALLS).filter(|number| is_cancelled(*number)) {
        assert!(calls[number as usize].cancel() && !calls[number as usize].cancel());
    }
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()), "no worker was hurt");
    for (number, call) in (0..).zip(calls) {
        let outcome = call.get().map_err(|error| error.kind());
        assert_eq!(outcome, if is_cancelled(number) { Err(ErrorKind::Cancelled) } else { Ok(number) });
        assert_eq!(fs::exists(files[number as usize].path()).unwrap(), !is_cancelled(number), "call {number}");
    }
    assert_eq!((pool.stats().items_pending, pool.stats().workers_died), (0, 0));
}

fn all_of_them_end_with_the_pool(setup: &Setup) {
    let pool = pool_for(setup, act_or_hang::Task, |number| (number, false));
    let mut calls: Vec<_> =
        (0..500).map(|number| pool.apply_async(act_or_hang::Task, (number, number % 100 == 50)).unwrap()).collect();
    drop(calls.drain(60..70));
    calls[0].wait();
    pool.terminate();
    for call in calls {
        let outcome = call.get();
        assert!(outcome.is_ok() || outcome.as_ref().unwrap_err().kind() == ErrorKind::Terminated, "{outcome:?}");
    }
    pool.join().unwrap();
    assert_eq!(pool.stats().jobs_submitted, pool.stats().jobs_finished);
}

#[pool_task]
fn length(text: &str) -> usize {
    text.len()
}

fn long_and_short_arguments_mix(setup: &Setup) {
    let pool = setup.pool();
    // Beside one another, too long for that, and longer than the ring.
    let lengths: Vec<_> = [0, 1, 100, 3000, 5000, 40_000, 300_000].into_iter().cycle().take(350).collect();
    let text = "x".repeat(300_000);
    let calls: Vec<_> =
        lengths.iter().map(|length| pool.apply_async(length::Task, &text[..*length]).unwrap()).collect();
    for (length, call) in lengths.into_iter().zip(calls) {
        assert_eq!(call.get().unwrap(), length);
    }
}
