//! The crash matrix: each way to fail × each moment of a job. The job's error names the failure, and all other jobs
//! end as if nothing had.
//!
//! Failures in the host, while it encodes arguments or decodes results, are tested in `values`.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use pool_core::Error;
use pool_core::prelude::*;
use tests::bomb::{Bomb, Effect, Phase, ballast, carry, carry_far};
use tests::gate::{Gate, count};
use tests::procs::{Process, eventually, kill_9};
use tests::tasks::{Way, crash, square};
use tests::trial::{Check, Setup, each_method, everywhere};

use crate::initializer::assert_breaks;

pub(crate) fn checks() -> Vec<Check> {
    let checks = [
        everywhere(arguments_that_go_off_when_they_are_decoded),
        everywhere(tasks_that_go_off),
        everywhere(arguments_that_go_off_when_they_are_dropped),
        everywhere(results_that_go_off_when_they_are_encoded),
        everywhere(results_that_go_off_when_they_are_dropped),
        // The panic of a thread that no task waits for is printed.
        everywhere(workers_that_go_off_while_they_send_a_result).methods(&[StartMethod::ForkServer]).noisy(),
        everywhere(initializers_that_go_off),
    ];
    let mixed = each_method(many_items_crash_and_all_others_are_right);
    checks.into_iter().map(|check| check.workers(&[1, 3])).chain([mixed]).collect()
}

/// Ends a task that hangs. Long enough for one that does not, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_millis(400);

/// The facts that the error of such a task must have.
fn assert_tells(error: &Error, way: Way, task: &str, item: Option<usize>) {
    let kind = match way {
        Way::Panic => ErrorKind::Panicked,
        Way::Hang => ErrorKind::TaskTimeout,
        _ => ErrorKind::WorkerDied,
    };
    assert_eq!(error.kind(), kind, "{way:?}: {error}");
    assert_eq!(error.item(), item);
    assert!(error.task().unwrap().ends_with(task), "{error}");
    let pid = error.worker_pid().expect("a worker's pid");
    let text = error.to_string();
    assert!(text.contains(task) && text.contains(&format!("worker {pid}")), "{text}");
    assert!(item.is_none_or(|item| text.contains(&format!("item {item}"))), "{text}");
    assert!(text.contains(way.text()), "{text}");
    let status = error.exit_status();
    assert_eq!(status.and_then(|status| status.code()), way.code(), "{text}");
    assert_eq!(status.and_then(|status| status.signal()), way.signal(), "{text}");
}

/// Every way at one moment: of a call among calls, and of an item in the middle of a chunk.
fn go_wrong(setup: &Setup, phase: Phase) {
    let pool = setup.pool();
    for way in Way::ALL {
        let make = || Bomb::new(phase, Effect::Crash(way));
        let task = if way == Way::Hang { carry::Task.timeout(LIMIT) } else { carry::Task.retries(0) };
        let pids = pool.worker_pids();
        let before: Vec<_> = (0..5).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        let single = pool.apply_async(task, make()).unwrap();
        let items = (0..20).map(|item| if item == 9 { make() } else { Bomb::DUD });
        let map = pool.imap(task.chunk_size(15), items).unwrap();
        let behind: Vec<_> = (5..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();

        assert_tells(&single.get().unwrap_err(), way, "bomb::carry", None);
        let map: Vec<_> = map.collect();
        assert_eq!(map.len(), 20);
        for (item, result) in map.into_iter().enumerate() {
            assert_eq!(result.is_ok(), item != 9, "item {item}, {phase:?}, {way:?}: {result:?}");
            result.err().inspect(|error| assert_tells(error, way, "bomb::carry", Some(9)));
        }
        for (x, job) in (0..).zip(before.into_iter().chain(behind)) {
            assert_eq!(job.get().unwrap(), x * x, "{phase:?}, {way:?}");
        }
        assert!(eventually(|| pool.worker_pids().len() == setup.workers), "no replacement after {way:?}");
        assert_eq!(pids == pool.worker_pids(), way == Way::Panic, "a panic costs no worker, all else does");
    }
    assert_eq!(pool.stats().items_failed, 2 * Way::ALL.len() as u64);
}

fn arguments_that_go_off_when_they_are_decoded(setup: &Setup) {
    go_wrong(setup, Phase::DecodeArgs);
}

fn tasks_that_go_off(setup: &Setup) {
    go_wrong(setup, Phase::Run);
}

fn arguments_that_go_off_when_they_are_dropped(setup: &Setup) {
    go_wrong(setup, Phase::DropArgs);
}

fn results_that_go_off_when_they_are_encoded(setup: &Setup) {
    go_wrong(setup, Phase::EncodeResult);
}

fn results_that_go_off_when_they_are_dropped(setup: &Setup) {
    go_wrong(setup, Phase::DropResult);
}

/// Several times the size of a worker's ring.
const FAR: usize = 512 << 10;

/// At three moments after the result was encoded, of which one or the other is in the middle: the whole result arrives, or
/// the way's error, and nothing in between.
fn workers_that_go_off_while_they_send_a_result(setup: &Setup) {
    let pool = setup.pool();
    let start = Instant::now();
    assert_eq!(pool.apply(carry_far::Task, (Bomb::DUD, FAR)).unwrap().1, ballast(FAR));
    let micros = start.elapsed().as_micros() as u64;
    for (way, delay) in Way::ALL.into_iter().flat_map(|way| [(way, 0), (way, micros / 8), (way, micros / 4)]) {
        let bomb = Bomb::new(Phase::SendResult(delay), Effect::Crash(way));
        let others: Vec<_> = (0..5).map(|x| pool.apply_async(square::Task.retries(1), x).unwrap()).collect();
        let task = if way == Way::Hang { carry_far::Task.timeout(LIMIT) } else { carry_far::Task.retries(0) };
        let pids = pool.worker_pids();
        match pool.apply(task, (bomb, FAR)) {
            Ok((_, bytes)) => {
                assert!(bytes == ballast(FAR), "a torn result, {way:?} after {delay} us");
                if way == Way::Hang {
                    // Nobody else will end it.
                    kill_9(stopped(&pids));
                }
                // It goes off now, before it is given the next job.
                assert!(way == Way::Panic || eventually(|| pool.worker_pids() != pids), "{way:?} has no effect");
            }
            // A stack overflow is told as such for the task's own thread only.
            Err(error) if way == Way::StackOverflow => assert_tells(&error, Way::Segfault, "bomb::carry_far", None),
            Err(error) => {
                assert_ne!(way, Way::Panic, "a panic is its thread's own matter: {error}");
                assert_tells(&error, way, "bomb::carry_far", None);
            }
        }
        for (x, job) in (0..).zip(others) {
            assert_eq!(job.get().unwrap(), x * x, "{way:?}");
        }
        assert!(eventually(|| pool.worker_pids().len() == setup.workers), "no replacement after {way:?}");
    }
}

/// The one of these that somebody stops.
fn stopped(pids: &[u32]) -> u32 {
    let is_stopped = |pid: &u32| Process::get(*pid).is_some_and(|process| process.state == 'T');
    assert!(eventually(|| pids.iter().any(is_stopped)), "nobody has stopped");
    *pids.iter().find(|pid| is_stopped(pid)).expect("looked at above")
}

#[pool_task]
fn go_off(calls: &str, way: Way) {
    count(calls);
    way.go();
}

fn initializers_that_go_off(setup: &Setup) {
    for way in Way::ALL {
        let calls = Gate::new();
        let task = if way == Way::Hang { go_off::Task.timeout(LIMIT) } else { go_off::Task.retries(0) };
        let builder = setup.builder().initializer(task, (calls.path(), way));
        let pool = builder.restart_limit(1).build().unwrap();
        assert_breaks(&pool, &calls, 2 * setup.workers, way.text());
        drop(pool);
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
}

fn many_items_crash_and_all_others_are_right(setup: &Setup) {
    let pool = setup.pool();
    let ways: Vec<_> = Way::ALL.into_iter().filter(|way| *way != Way::Hang).collect();
    let way_of = |item: usize| (item % 10 == 3).then(|| ways[item / 10 % ways.len()]);
    let mut results = pool.imap(crash::Task, (0..200).map(way_of)).unwrap();
    for item in 0..200 {
        match (results.next().unwrap(), way_of(item)) {
            (Ok(value), None) => assert_eq!(value, 7),
            (Err(error), Some(way)) => assert_tells(&error, way, "tasks::crash", Some(item)),
            (result, way) => panic!("item {item}, {way:?}: {result:?}"),
        }
    }
    assert!(results.next().is_none());
}
