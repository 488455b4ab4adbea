//! Finalizers: run by each worker that leaves in peace, and by no other; their failures hold up nothing.

use std::sync::mpsc;
use std::time::Instant;

use pool_core::prelude::*;
use pool_core::{Event, ExitCause, PoolBuilder};
use tests::gate::{Gate, count};
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_worker_of_a_closed_pool_runs_it_once),
        each_method(workers_that_retire_are_recycled_or_too_many_run_it),
        each_method(killed_workers_do_not_run_it),
        each_method(it_comes_after_the_last_task_and_before_states_are_dropped),
        each_method(a_finalizer_that_fails_fails_nothing_else),
        each_method(failures_are_events_and_kept_for_insights),
        each_method(a_finalizer_that_hangs_is_killed),
        each_method(a_worker_that_never_was_ready_runs_none),
    ]
}

#[pool_task]
fn note(path: &str) {
    count(path);
}

fn each_worker_of_a_closed_pool_runs_it_once(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().finalizer(note::Task, calls.path()).build().unwrap();
    pool.wait_ready().unwrap();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert_eq!(calls.count(), 0);
    pool.close();
    pool.join().unwrap();
    assert_eq!(calls.count(), setup.workers);
    assert_eq!(pool.stats().workers_died, 0);
}

fn workers_that_retire_are_recycled_or_too_many_run_it(setup: &Setup) {
    let calls = Gate::new();
    let builder = || setup.builder().finalizer(note::Task, calls.path());
    let pool = builder().idle_timeout(Duration::from_millis(10)).build().unwrap();
    assert!(eventually(|| calls.count() == setup.workers && pool.worker_pids().is_empty()));
    drop(pool);
    let pool = builder().max_tasks_per_worker(1).workers(1).build().unwrap();
    for x in 0..5 {
        pool.apply(square::Task, x).unwrap();
    }
    assert!(eventually(|| calls.count() == setup.workers + 5));
    drop(pool);
    let pool = builder().build().unwrap();
    pool.wait_ready().unwrap();
    pool.resize(1).unwrap();
    assert!(eventually(|| calls.count() == 2 * setup.workers + 4));
}

fn killed_workers_do_not_run_it(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().finalizer(note::Task, calls.path()).build().unwrap();
    pool.worker_pids().into_iter().for_each(kill_9);
    assert_eq!(pool.map(square::Task.retries(5), 0..100).unwrap().len(), 100);
    let running = pool.apply_async(nap::Task, 60_000).unwrap();
    pool.terminate();
    pool.join().unwrap();
    assert_eq!(running.get().unwrap_err().kind(), ErrorKind::Terminated);
    assert_eq!(calls.count(), 0);
}

/// Writes to a log as it is changed and dropped.
struct Log(String);

impl Log {
    fn add(&mut self, text: &str) {
        let before = std::fs::read_to_string(&self.0).unwrap_or_default();
        std::fs::write(&self.0, before + text).unwrap();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.add("dropped");
    }
}

#[pool_state]
fn open(path: &str) -> Log {
    Log(path.to_owned())
}

#[pool_task]
fn write(#[state] log: &mut Log, text: &str) -> Result<(), String> {
    log.add(text);
    Ok(())
}

fn it_comes_after_the_last_task_and_before_states_are_dropped(setup: &Setup) {
    let log = Gate::new();
    let builder = setup.builder().workers(1).state(open::State, log.path());
    let pool = builder.finalizer(write::Task, "finalized ").build().unwrap();
    let tasks: Vec<_> = (0..3).map(|_| pool.apply_async(write::Task, "task ").unwrap()).collect();
    pool.close();
    pool.join().unwrap();
    tasks.into_iter().for_each(|task| task.get().unwrap().unwrap());
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "task task task finalized dropped");
}

#[pool_task]
fn end(way: Option<Way>) -> Result<(), String> {
    if let Some(way) = way {
        way.go();
    }
    // Longer than the ring.
    Err("no ".repeat(1_000_000))
}

fn a_finalizer_that_fails_fails_nothing_else(setup: &Setup) {
    for way in [None, Some(Way::Panic), Some(Way::Abort), Some(Way::ExitThree)] {
        let pool = setup.builder().finalizer(end::Task, way).max_tasks_per_worker(10).build().unwrap();
        assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
        pool.close();
        pool.join().unwrap();
        assert_eq!(pool.stats().items_succeeded, 100);
    }
}

#[pool_task]
fn refuse() -> Result<(), String> {
    Err("there is dust left".to_owned())
}

fn failures_are_events_and_kept_for_insights(setup: &Setup) {
    let ends = |builder: PoolBuilder| {
        let (sender, events) = mpsc::channel();
        let pool = builder.on_event(move |event| sender.send(event.clone()).unwrap()).build().unwrap();
        pool.wait_ready().unwrap();
        pool.close();
        pool.join().unwrap();
        let insights = pool.insights();
        drop(pool);
        let failures: Vec<_> = events.iter().collect();
        let failures = failures.into_iter().filter_map(|event| match event {
            Event::FinalizerFailed { worker, error, .. } => Some((worker, error)),
            _ => None,
        });
        (failures.collect::<Vec<_>>(), insights)
    };
    let calls = Gate::new();
    let limited = hang::Task.timeout(Duration::from_millis(50));
    let cases = [
        (setup.builder().finalizer(end::Task, None), "failed: no no no"),
        (setup.builder().finalizer(refuse::Task, ()), "failed: there is dust left"),
        (setup.builder().finalizer(end::Task, Some(Way::Panic)), "panicked: "),
        (setup.builder().finalizer(end::Task, Some(Way::Abort)), "did not end: killed by signal 6 (SIGABRT)"),
        (setup.builder().finalizer(limited, calls.path()), "exceeded its limit of 50 ms after "),
    ];
    for (builder, text) in cases {
        let (failures, insights) = ends(builder);
        assert_eq!(
            (failures.len(), insights.finalizer_failures),
            (setup.workers, setup.workers as u64),
            "{failures:?}"
        );
        for (at, (worker, error)) in failures.iter().enumerate() {
            assert!(error.starts_with("the finalizer `it::finalizers::") && error.contains(text), "{error}");
            assert!(error.len() < 5000, "a log of such errors would fill the memory");
            assert!(worker.id() < setup.workers && worker.pid() > 0);
            assert!(failures[..at].iter().all(|(other, _)| other != worker), "{failures:?}");
        }
        let last = insights.last_finalizer_failure.as_ref().unwrap();
        assert!(last.contains(text) && insights.to_string().contains(&format!("{last}\n")), "{insights}");
    }
    let (failures, insights) = ends(setup.builder().finalizer(note::Task, calls.path()));
    assert_eq!((failures.len(), insights.finalizer_failures), (0, 0));
}

#[pool_task]
fn hang(path: &str) {
    count(path);
    std::thread::sleep(Duration::from_secs(600));
}

fn a_finalizer_that_hangs_is_killed(setup: &Setup) {
    let (calls, start) = (Gate::new(), Instant::now());
    let task = hang::Task.timeout(Duration::from_millis(100));
    let pool = setup.builder().finalizer(task, calls.path()).build().unwrap();
    pool.wait_ready().unwrap();
    pool.close();
    pool.join().unwrap();
    assert_eq!(calls.count(), setup.workers);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    for worker in pool.insights().workers {
        let cause = &worker.exits.last().unwrap().cause;
        assert!(cause.to_string().starts_with("exceeded its limit of 100 ms for leaving after "), "{cause}");
        assert!(matches!(cause, ExitCause::Stayed { limit, ran } if ran > limit), "{cause:?}");
    }
}

fn a_worker_that_never_was_ready_runs_none(setup: &Setup) {
    let (starts, calls) = (Gate::new(), Gate::new());
    let slow = slow_start::Task;
    let pool = setup.builder().initializer(slow, starts.path()).finalizer(note::Task, calls.path()).build().unwrap();
    assert!(eventually(|| starts.count() == setup.workers));
    pool.close();
    pool.join().unwrap();
    assert_eq!(calls.count(), 0);
}

#[pool_task]
fn slow_start(path: &str) {
    count(path);
    std::thread::sleep(Duration::from_millis(300));
}
