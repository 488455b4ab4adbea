//! Waiting until the pool is idle, and until its workers are ready: several threads at once, beside close, terminate and broken
//! pools.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, count, pass};
use tests::leaks::threads;
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(an_idle_pool_is_waited_for_by_many),
        each_method(a_moment_without_work_is_enough),
        each_method(lazy_maps_are_idle_between_results),
        each_method(a_wait_for_an_idle_pool_has_a_limit),
        each_method(pools_that_end_are_idle),
        each_method(workers_are_ready_when_their_initializer_has_returned),
        each_method(workers_that_fail_at_first_are_ready_later).workers(&[1, 2]),
        each_method(workers_that_left_or_die_count_as_ready),
        each_method(a_wait_for_workers_ends_with_the_pool),
        each_method(a_wait_for_workers_of_a_broken_pool_says_why),
    ]
}

// ---- idle ----------------------------------------------------------------------------------------------------------

fn an_idle_pool_is_waited_for_by_many(setup: &Setup) {
    let pool = setup.pool();
    pool.wait_idle().unwrap();
    for _ in 0..20 {
        let gate = Gate::new();
        let returned = AtomicUsize::new(0);
        let jobs: Vec<_> = (0..50).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        let held = pool.apply_async(pass::Task, gate.path()).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    pool.wait_idle().unwrap();
                    returned.fetch_add(1, Ordering::Relaxed);
                });
            }
            thread::sleep(Duration::from_millis(3));
            assert_eq!(returned.load(Ordering::Relaxed), 0, "an item is pending");
            gate.open();
        });
        assert!(held.ready() && jobs.iter().all(AsyncResult::ready));
        assert_eq!(pool.stats().items_pending, 0);
    }
    // An input that another thread pulls belongs to the work.
    let gate = Gate::new();
    thread::scope(|scope| {
        let input = (0..100).inspect(|x| {
            if *x == 50 {
                pass(gate.path());
            }
        });
        let maps = scope.spawn(|| pool.map(square::Task, input).unwrap());
        assert!(eventually(|| pool.stats().items_succeeded > 20 * 51 + 10));
        let idle = scope.spawn(|| pool.wait_idle().unwrap());
        thread::sleep(Duration::from_millis(20));
        assert!(!idle.is_finished(), "more items may come");
        gate.open();
        idle.join().unwrap();
        assert_eq!(maps.join().unwrap().len(), 100);
    });
}

fn a_moment_without_work_is_enough(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..10 {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
                }
            });
            pool.wait_idle().unwrap();
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

fn lazy_maps_are_idle_between_results(setup: &Setup) {
    let pool = setup.pool();
    let mut squares = pool.imap(square::Task.prefetch(2), 0..).unwrap();
    for x in 0..5 {
        assert_eq!(squares.next().unwrap().unwrap(), x * x);
        pool.wait_idle().unwrap();
    }
}

fn a_wait_for_an_idle_pool_has_a_limit(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    for limit in [Duration::ZERO, Duration::from_millis(20)] {
        let error = pool.wait_idle_timeout(limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().ends_with(": 1 item is pending"), "{error}");
    }
    gate.open();
    pool.wait_idle_timeout(Duration::MAX).unwrap();
    assert!(held.ready());
    pool.wait_idle_timeout(Duration::ZERO).unwrap();
}

fn pools_that_end_are_idle(setup: &Setup) {
    for ends in [Pool::close, Pool::terminate] {
        let pool = setup.pool();
        let gate = Gate::new();
        let held = pool.apply_async(pass::Task, gate.path()).unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.wait_idle())).collect();
            thread::sleep(Duration::from_millis(20));
            ends(&pool);
            if pool.state() == PoolState::Closed {
                thread::sleep(Duration::from_millis(20));
                assert!(!waiting.iter().any(|thread| thread.is_finished()), "the item is pending still");
                gate.open();
            }
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap().is_ok()));
        });
        assert!(held.ready());
        pool.join().unwrap();
        pool.wait_idle().unwrap();
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}

// ---- ready ---------------------------------------------------------------------------------------------------------

#[pool_task]
fn wait_for(gate: &str) {
    pass(gate);
}

fn workers_are_ready_when_their_initializer_has_returned(setup: &Setup) {
    let gate = Gate::new();
    let pool = setup.builder().initializer(wait_for::Task, gate.path()).build().unwrap();
    let error = pool.wait_ready_timeout(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), format!("0 of {} workers are ready after 20 ms", setup.workers));
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.wait_ready())).collect();
        thread::sleep(Duration::from_millis(20));
        assert!(!waiting.iter().any(|thread| thread.is_finished()));
        gate.open();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap().is_ok()));
    });
    pool.wait_ready_timeout(Duration::ZERO).unwrap();
    pool.resize(setup.workers + 2).unwrap();
    pool.wait_ready().unwrap();
    assert_eq!(pool.worker_pids().len(), setup.workers + 2);
    pool.resize(1).unwrap();
    pool.wait_ready().unwrap();
    // Without an initializer, a worker is ready when it has started.
    drop(pool);
    assert!(eventually(|| threads().len() == 1));
    setup.pool().wait_ready().unwrap();
}

/// Fails in the first processes.
#[pool_task]
fn fail_twice(calls: &str) -> Result<(), String> {
    if count(calls) < 2 { Err("not yet".into()) } else { Ok(()) }
}

fn workers_that_fail_at_first_are_ready_later(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().initializer(fail_twice::Task, calls.path()).build().unwrap();
    pool.wait_ready().unwrap();
    assert!(calls.count() > setup.workers);
    assert_eq!(pool.worker_pids().len(), setup.workers);
}

fn workers_that_left_or_die_count_as_ready(setup: &Setup) {
    let pool = setup.builder().idle_timeout(Duration::from_millis(5)).build().unwrap();
    assert!(eventually(|| pool.worker_pids().is_empty()));
    pool.wait_ready().unwrap();
    drop(pool);
    assert!(eventually(|| threads().len() == 1));
    let pool = setup.pool();
    pool.wait_ready().unwrap();
    for _ in 0..10 {
        pool.worker_pids().into_iter().for_each(kill_9);
        pool.wait_ready().unwrap();
    }
    assert_eq!(pool.apply(square::Task.retries(20), 4).unwrap(), 16);
}

fn a_wait_for_workers_ends_with_the_pool(setup: &Setup) {
    for ends in [Pool::close, Pool::terminate] {
        let gate = Gate::new();
        let pool = setup.builder().initializer(wait_for::Task, gate.path()).build().unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.wait_ready())).collect();
            thread::sleep(Duration::from_millis(20));
            ends(&pool);
            for thread in waiting {
                assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
            }
        });
        gate.open();
        assert_eq!(pool.wait_ready_timeout(Duration::ZERO).map_err(|error| error.kind()), Err(ErrorKind::Closed));
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
    // One that had been ready was ready.
    let pool = setup.pool();
    pool.wait_ready().unwrap();
    pool.close();
    pool.join().unwrap();
    pool.wait_ready().unwrap();
}

#[pool_task]
fn fail(way: Option<Way>) -> Result<(), String> {
    if let Some(way) = way {
        way.go();
    }
    Err("no licence".into())
}

fn a_wait_for_workers_of_a_broken_pool_says_why(setup: &Setup) {
    for (way, why) in [(None, "no licence"), (Some(Way::ExitThree), "exited with code 3")] {
        let pool = setup.builder().initializer(fail::Task, way).restart_limit(1).build().unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.wait_ready())).collect();
            for thread in waiting {
                let error = thread.join().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Broken);
                assert!(error.to_string().contains(why), "{error}");
            }
        });
        assert_eq!(pool.state(), PoolState::Broken);
        pool.wait_idle().unwrap();
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}
