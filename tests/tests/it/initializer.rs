//! The task that each worker runs before its first item, and its failures.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, count, open_and_hang};
use tests::procs::{eventually, kill_9};
use tests::tasks::{Stubborn, nap, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(the_initializer_runs_once_in_each_worker_before_its_first_task),
        each_method(a_replacement_runs_the_initializer_too),
        each_method(an_initializer_that_fails_breaks_the_pool_with_its_message),
        each_method(an_initializer_that_panics_breaks_the_pool_with_its_message),
        each_method(the_last_of_ever_later_starts_is_the_cause).workers(&[1]),
        each_method(an_initializer_that_fails_at_first_breaks_nothing),
        each_method(an_initializer_that_returns_ok_is_fine),
        each_method(an_initializer_that_hangs_does_not_hold_up_terminate),
        each_method(an_initializer_that_takes_too_long_breaks_the_pool).workers(&[1, 2]),
        each_method(an_initializer_that_hangs_at_first_breaks_nothing),
        each_method(the_time_limit_of_an_initializer_is_not_that_of_tasks),
        once(an_initializer_without_any_time_is_refused),
        once(an_initializer_in_a_thread_does_not_wait_for_itself),
    ]
}

static GREETING: OnceLock<String> = OnceLock::new();

#[pool_task]
fn prepare(greeting: &str, calls: &str) {
    GREETING.set(greeting.to_owned()).expect("it is called once in each process");
    count(calls);
}

#[pool_task]
fn greet(name: &str) -> (String, u32) {
    let greeting = GREETING.get().expect("the initializer was called before");
    (format!("{greeting} {name}"), std::process::id())
}

fn the_initializer_runs_once_in_each_worker_before_its_first_task(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().initializer(prepare::Task, ("Hello", calls.path())).build().unwrap();
    let pids = pool.worker_pids();
    for (text, pid) in pool.map(greet::Task, ["world"; 100]).unwrap() {
        assert_eq!(text, "Hello world");
        assert!(pids.contains(&pid));
    }
    assert!(eventually(|| calls.count() == setup.workers));
    assert_eq!(pool.stats().items_succeeded, 100);
}

fn a_replacement_runs_the_initializer_too(setup: &Setup) {
    let calls = Gate::new();
    let builder = setup.builder().initializer(prepare::Task, ("Hello", calls.path()));
    let pool = builder.max_tasks_per_worker(1).build().unwrap();
    for _ in 0..5 {
        assert_eq!(pool.apply(greet::Task, "again").unwrap().0, "Hello again");
    }
    assert!(calls.count() >= 5);
}

#[pool_task]
fn refuse(calls: &str) -> Result<(), String> {
    Err(format!("no license, call {}", count(calls)))
}

#[pool_task]
fn panic_at_once(calls: &str) {
    panic!("no ground under call {}", count(calls));
}

/// Everything ends in `Broken`, after so many starts at most.
pub(crate) fn assert_breaks(pool: &Pool, calls: &Gate, starts: usize, text: &str) {
    let jobs: Vec<_> = (0..10).filter_map(|x| pool.apply_async(square::Task, x).ok()).collect();
    for job in jobs {
        let error = job.get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(eventually(|| pool.state() == PoolState::Broken));
    let error = pool.apply(square::Task, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains(text), "{error}");
    pool.close();
    pool.join().unwrap();
    assert!(calls.count() <= starts, "a storm of {} starts", calls.count());
    assert!(pool.stats().workers_started <= starts as u64, "{:?}", pool.stats());
}

fn an_initializer_that_fails_breaks_the_pool_with_its_message(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().initializer(refuse::Task, calls.path()).build().unwrap();
    assert_breaks(&pool, &calls, 4 * setup.workers, "initializer::refuse` failed: no license, call ");
}

fn an_initializer_that_panics_breaks_the_pool_with_its_message(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().initializer(panic_at_once::Task, calls.path()).build().unwrap();
    assert_breaks(&pool, &calls, 4 * setup.workers, "initializer::panic_at_once` panicked: no ground under call ");
}

#[pool_task]
fn exit_with_the_count(calls: &str) {
    std::process::exit(count(calls) as i32);
}

fn the_last_of_ever_later_starts_is_the_cause(setup: &Setup) {
    let (calls, start) = (Gate::new(), Instant::now());
    let builder = setup.builder().initializer(exit_with_the_count::Task, calls.path());
    let pool = builder.restart_limit(4).build().unwrap();
    let error = pool.apply(square::Task, 1).unwrap_err();
    assert_eq!((error.kind(), calls.count()), (ErrorKind::Broken, 5), "{error}");
    let text = "the pool is broken: a worker died before it was ready: exited with code 4";
    assert!(error.to_string().contains(text), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(10 + 20 + 40 + 80), "{:?}", start.elapsed());
}

#[pool_task]
fn refuse_twice(calls: &str) -> Result<(), String> {
    if count(calls) < 2 { Err("not yet".to_owned()) } else { Ok(()) }
}

fn an_initializer_that_fails_at_first_breaks_nothing(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().initializer(refuse_twice::Task, calls.path()).build().unwrap();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert_eq!(pool.state(), PoolState::Open);
}

#[pool_task]
fn agree() -> Result<(), String> {
    Ok(())
}

fn an_initializer_that_returns_ok_is_fine(setup: &Setup) {
    let pool = setup.builder().initializer(agree::Task, ()).build().unwrap();
    kill_9(pool.worker_pids()[0]);
    assert_eq!(pool.map(pid::Task.retries(5), [(); 50]).unwrap().len(), 50);
}

fn an_initializer_that_hangs_does_not_hold_up_terminate(setup: &Setup) {
    let gate = Gate::new();
    let pool = setup.builder().initializer(open_and_hang::Task, gate.path()).build().unwrap();
    let waiting = pool.apply_async(square::Task, 1).unwrap();
    gate.wait();
    assert!(!waiting.ready());
    pool.terminate();
    assert_eq!(waiting.get().unwrap_err().kind(), ErrorKind::Terminated);
    pool.join().unwrap();
}

#[pool_task(timeout = "200ms")]
fn never_begin(how: Stubborn) {
    how.go();
}

fn an_initializer_that_takes_too_long_breaks_the_pool(setup: &Setup) {
    for how in Stubborn::ALL {
        let pool = setup.builder().initializer(never_begin::Task, how).restart_limit(1).build().unwrap();
        let error = pool.apply(square::Task, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken, "{how:?}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("the initializer `it::initializer::never_begin` exceeded its limit of 200 ms after "),
            "{text}"
        );
        assert!(text.ends_with(" and was killed"), "{text}");
        assert_eq!(pool.state(), PoolState::Broken);
        pool.close();
        pool.join().unwrap();
        drop(pool);
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
}

#[pool_task]
fn hang_twice(calls: &str) {
    if count(calls) < 2 {
        Stubborn::StopsItself.go();
    }
}

fn an_initializer_that_hangs_at_first_breaks_nothing(setup: &Setup) {
    let calls = Gate::new();
    // The call's limit stands in for the attribute's.
    let builder = setup.builder().initializer(hang_twice::Task.timeout(Duration::from_millis(500)), calls.path());
    let pool = builder.restart_limit(10).build().unwrap();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert!(eventually(|| calls.count() == setup.workers + 2));
    assert_eq!(pool.state(), PoolState::Open);
}

#[pool_task]
fn take_long(deadlines: &str) {
    nap(300);
    if current_worker().is_some_and(|worker| worker.deadline().is_some()) {
        count(deadlines);
    }
}

fn the_time_limit_of_an_initializer_is_not_that_of_tasks(setup: &Setup) {
    // Neither is the pool's that of the initializer ...
    let deadlines = Gate::new();
    let builder = setup.builder().initializer(take_long::Task, deadlines.path());
    let pool = builder.task_timeout(Duration::from_millis(100)).build().unwrap();
    assert_eq!(pool.map(square::Task, 0..10).unwrap().len(), 10);
    assert_eq!(pool.apply(nap::Task, 30_000).unwrap_err().kind(), ErrorKind::TaskTimeout);
    assert_eq!(deadlines.count(), 0);
    drop(pool);
    assert!(eventually(|| tests::leaks::threads().len() == 1));
    // ... nor the other way round.
    let task = take_long::Task.timeout(Duration::from_secs(2));
    let pool = setup.builder().initializer(task, deadlines.path()).build().unwrap();
    assert_eq!(pool.apply(nap::Task, 2500).unwrap(), 2500);
    assert!(eventually(|| deadlines.count() == setup.workers));
}

fn an_initializer_without_any_time_is_refused(setup: &Setup) {
    let builder = setup.builder().initializer(take_long::Task.timeout(Duration::ZERO), "");
    assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// The pool that has the initializer below, and the outcomes there.
static OWN: Mutex<Option<Arc<Pool>>> = Mutex::new(None);
static OUTCOMES: Mutex<Vec<pool_core::Result<()>>> = Mutex::new(Vec::new());

/// Waits until its own pool has started.
#[pool_task]
fn wait_for_own_start() {
    assert!(eventually(|| OWN.lock().unwrap().is_some()), "it begins before the host has the pool");
    let pool = OWN.lock().unwrap().clone().unwrap();
    OUTCOMES.lock().unwrap().extend([pool.wait_ready(), pool.wait_ready_timeout(Duration::MAX)]);
}

fn an_initializer_in_a_thread_does_not_wait_for_itself(_: &Setup) {
    let builder = Pool::builder().workers(1).in_process();
    let pool = Arc::new(builder.initializer(wait_for_own_start::Task, ()).build().unwrap());
    *OWN.lock().unwrap() = Some(Arc::clone(&pool));
    pool.wait_ready().unwrap();
    *OWN.lock().unwrap() = None;
    let errors = OUTCOMES.lock().unwrap().drain(..).map(|outcome| outcome.unwrap_err().to_string()).collect::<Vec<_>>();
    assert_eq!(errors, ["this thread is a worker of the pool, and would wait for itself"; 2]);
}
