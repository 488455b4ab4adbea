//! Pools that are made inside a task: they work, and die with the worker that made them. Copies of a worker with threads are
//! refused by name, as those of any process with threads.

use std::sync::OnceLock;

use pool_core::prelude::*;
use tests::procs::{descendants, eventually, kill_9};
use tests::tasks::{Way, crash, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_task_may_use_a_pool_of_its_own),
        each_method(the_pool_of_a_task_has_faults_of_its_own).noisy(),
        each_method(a_pool_that_a_task_leaves_behind_serves_the_next_one),
        each_method(a_pool_of_a_worker_dies_with_it),
        each_method(copies_of_a_worker_are_made_or_refused_by_name),
    ]
}

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

fn builder(method: usize) -> PoolBuilder {
    Pool::builder().workers(2).start_method(METHODS[method])
}

#[pool_task]
fn sum_of_squares(method: usize, items: u64) -> Result<u64, String> {
    let pool = builder(method).build().map_err(|error| error.to_string())?;
    let squares = pool.map(square::Task, 0..items).map_err(|error| error.to_string())?;
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    pool.close();
    pool.join().map_err(|error| error.to_string())?;
    Ok(squares.into_iter().sum())
}

fn a_task_may_use_a_pool_of_its_own(setup: &Setup) {
    let pool = setup.pool();
    for (method, name) in METHODS.iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(pool.apply(sum_of_squares::Task, (method, 4)).unwrap(), Ok(14), "{name:?}");
        }
        let sums = pool.map(sum_of_squares::Task, [(method, 5), (method, 6)]).unwrap();
        assert_eq!(sums, [Ok(30), Ok(55)]);
    }
    // Nothing is left of them: the workers are all that there is, beside the fork server.
    assert!(eventually(|| descendants().len() <= setup.workers + 1), "{:?}", descendants());
    assert_eq!(pool.stats().workers_died, 0);
}

/// The kinds of its items' errors.
#[pool_task]
fn outlive(method: usize) -> Vec<String> {
    let pool = builder(method).build().unwrap();
    let mut errors = Vec::from([Way::Abort, Way::ExitThree, Way::Panic].map(|way| pool.apply(crash::Task, Some(way))));
    errors.push(pool.apply(crash::Task.timeout(Duration::from_millis(50)), Some(Way::Hang)));
    assert_eq!(pool.apply(square::Task, 5).unwrap(), 25);
    errors.into_iter().map(|error| error.unwrap_err().kind().to_string()).collect()
}

fn the_pool_of_a_task_has_faults_of_its_own(setup: &Setup) {
    let pool = setup.pool();
    for method in 0..METHODS.len() {
        let kinds = pool.apply(outlive::Task, method).unwrap();
        assert_eq!(kinds, ["worker died", "worker died", "task panicked", "time limit exceeded"]);
    }
    assert_eq!((pool.stats().workers_died, pool.stats().items_failed), (0, 0));
}

/// Calls the pool that the first call in this process has made and nobody drops.
#[pool_task]
fn square_inside(method: usize, x: u64) -> (u64, u32) {
    static INNER: OnceLock<Pool> = OnceLock::new();
    let inner = INNER.get_or_init(|| builder(method).build().unwrap());
    (inner.apply(square::Task, x).unwrap(), std::process::id())
}

fn a_pool_that_a_task_leaves_behind_serves_the_next_one(setup: &Setup) {
    for (method, name) in METHODS.iter().enumerate() {
        let pool = setup.with_workers(1).pool();
        for x in 0..20 {
            assert_eq!(pool.apply(square_inside::Task, (method, x)).unwrap().0, x * x);
        }
        pool.close();
        pool.join().unwrap();
        drop(pool);
        assert!(eventually(|| descendants().is_empty()), "{name:?}: {:?}", descendants());
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
}

fn a_pool_of_a_worker_dies_with_it(setup: &Setup) {
    for (method, name) in METHODS.iter().enumerate() {
        let pool = setup.with_workers(1).pool();
        let (_, worker) = pool.apply(square_inside::Task, (method, 3)).unwrap();
        let before = descendants();
        assert!(before.len() > 3, "{before:?}");
        kill_9(worker);
        assert!(eventually(|| pool.worker_pids().len() == 1 && pool.worker_pids()[0] != worker));
        assert!(eventually(|| descendants().len() <= 2), "{name:?}: {:?}", descendants());
        assert_eq!(pool.apply(square_inside::Task.retries(3), (method, 4)).unwrap().0, 16);
        drop(pool);
        assert!(eventually(|| descendants().is_empty()), "{name:?}: {:?}", descendants());
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
}

/// Whether it works, or is refused by name.
#[pool_task]
fn copy_this_worker() -> bool {
    let built = Pool::builder().workers(2).start_method(StartMethod::Fork).build();
    match built {
        Ok(pool) => pool.map(square::Task, 0..4).unwrap() == [0, 1, 4, 9],
        Err(error) => error.kind() == ErrorKind::Unsupported && error.to_string().contains("StartMethod::ForkServer"),
    }
}

fn copies_of_a_worker_are_made_or_refused_by_name(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        assert!(pool.apply(copy_this_worker::Task, ()).unwrap());
        // This worker has had threads from now on.
        assert_eq!(pool.apply(sum_of_squares::Task, (0, 4)).unwrap(), Ok(14));
    }
    assert_eq!((pool.stats().workers_died, pool.stats().items_failed), (0, 0));
}
