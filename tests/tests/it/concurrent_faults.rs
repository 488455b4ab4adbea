//! Many things at once: crashes, resizes, shares, growth, idling, cancels. Every item has its own outcome, and none runs
//! once more than it should.

use std::iter::repeat_with;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, count, open_and_hang};
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(resizes_and_idling_among_crashes_lose_nothing),
        everywhere(shares_and_growth_among_crashes_lose_nothing),
        everywhere(cancels_among_deaths_hit_nobody_else),
        each_method(the_worker_of_a_cancelled_job_is_replaced).workers(&[1, 2]),
    ]
}

fn assert_whole(pool: &Pool) {
    assert_eq!(pool.state(), PoolState::Open);
    assert_eq!(pool.map(square::Task, 0..1000).unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(pool.stats().items_pending, 0);
}

/// The end of an item.
fn fate(item: usize) -> Option<Way> {
    match item % 17 {
        4 => Some(Way::Panic),
        9 => Some([Way::Kill, Way::Abort, Way::ExitZero][item % 3]),
        _ => None,
    }
}

fn expected(item: usize) -> Option<ErrorKind> {
    fate(item).map(|way| if way == Way::Panic { ErrorKind::Panicked } else { ErrorKind::WorkerDied })
}

#[pool_task]
fn meet_fate(item: usize) -> usize {
    if let Some(way) = fate(item) {
        way.go();
    }
    thread::sleep(Duration::from_micros(200));
    item
}

fn assert_each_met_its_fate(results: Vec<pool_core::Result<usize>>) {
    for (item, result) in results.into_iter().enumerate() {
        match result {
            Ok(value) => assert_eq!((value, expected(item)), (item, None)),
            Err(error) => {
                assert_eq!((Some(error.kind()), error.item()), (expected(item), Some(item)), "{error}");
            }
        }
    }
}

fn resizes_and_idling_among_crashes_lose_nothing(setup: &Setup) {
    let pool = setup.builder().idle_timeout(Duration::from_millis(5)).build().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for workers in [4, 1, 6, 2, 3].into_iter().cycle() {
                pool.resize(workers).unwrap();
                thread::sleep(Duration::from_millis(20));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for chunk_size in [None, Some(1), Some(8)] {
            let task = chunk_size.map_or(meet_fate::Task.retries(0), |size| meet_fate::Task.chunk_size(size));
            assert_each_met_its_fate(pool.map_results(task, 0..150).unwrap());
            thread::sleep(Duration::from_millis(20));
            let calls: Vec<_> = (0..50).map(|item| pool.apply_async(meet_fate::Task, item).unwrap()).collect();
            for (item, call) in calls.into_iter().enumerate() {
                assert_eq!(call.get().map_err(|error| error.kind()).err(), expected(item));
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_whole(&pool);
}

/// Dies as long as it has been called less often.
#[pool_task]
fn stumble(calls: &str, deaths: usize, leak: usize) -> usize {
    let before = count(calls);
    if before < deaths {
        Way::Kill.go();
    }
    std::mem::forget(std::hint::black_box(vec![1_u8; leak]));
    before
}

fn shares_and_growth_among_crashes_lose_nothing(setup: &Setup) {
    let builder = setup.builder().max_tasks_per_worker(9).max_worker_rss(64 << 20);
    let pool = builder.retries(2).build().unwrap();
    let deaths = |item| [99, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0][item % 12];
    for chunk_size in [None, Some(5)] {
        let calls: Vec<_> = repeat_with(Gate::new).take(150).collect();
        let items = calls.iter().enumerate();
        let items = items.map(|(item, gate)| (gate.path(), deaths(item), if item % 5 == 0 { 16 << 20 } else { 10 }));
        let task = chunk_size.map_or(stumble::Task.retries(2), |size| stumble::Task.chunk_size(size));
        let results = pool.map_results(task, items).unwrap();
        assert_eq!(results.len(), calls.len());
        for (item, result) in results.into_iter().enumerate() {
            assert_eq!(calls[item].count(), 1 + deaths(item).min(2), "item {item}: {result:?}");
            match result {
                Ok(before) => assert_eq!(before, deaths(item)),
                Err(error) => assert_eq!((error.kind(), deaths(item)), (ErrorKind::WorkerDied, 99), "{error}"),
            }
        }
    }
    assert_whole(&pool);
}

fn cancels_among_deaths_hit_nobody_else(setup: &Setup) {
    // Some may be killed before they are ready.
    let pool = setup.builder().restart_limit(100).build().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                let pids = pool.worker_pids();
                pids.get(round % setup.workers).copied().into_iter().for_each(kill_9);
                thread::sleep(Duration::from_millis(10));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for round in 0..15 {
            let calls: Vec<_> = (0..30).map(|_| pool.apply_async(nap::Task.retries(50), 1).unwrap()).collect();
            let map = pool.map_async(nap::Task.retries(50).chunk_size(4), [2; 40]).unwrap();
            let endless = pool.apply_async(nap::Task.retries(50), 30_000).unwrap();
            thread::sleep(Duration::from_millis(3));
            let cancelled: Vec<_> = calls.iter().enumerate().map(|(at, call)| at % 3 == 1 && call.cancel()).collect();
            let map_is_cancelled = round % 2 == 0 && map.cancel();
            assert!(endless.cancel() && !endless.cancel());
            assert_eq!(endless.get().unwrap_err().kind(), ErrorKind::Cancelled);
            for (call, is_cancelled) in calls.into_iter().zip(cancelled) {
                let outcome = call.get().map_err(|error| error.kind());
                assert_eq!(outcome, if is_cancelled { Err(ErrorKind::Cancelled) } else { Ok(1) });
            }
            let outcome = map.get().map_err(|error| error.kind());
            assert_eq!(outcome, if map_is_cancelled { Err(ErrorKind::Cancelled) } else { Ok(vec![2; 40]) });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(eventually(|| pool.worker_pids().len() == setup.workers), "{:?}", pool.worker_pids());
    assert_whole(&pool);
}

fn the_worker_of_a_cancelled_job_is_replaced(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        let pids = pool.worker_pids();
        let gates: Vec<_> = repeat_with(Gate::new).take(setup.workers).collect();
        let hanging: Vec<_> =
            gates.iter().map(|gate| pool.apply_async(open_and_hang::Task, gate.path()).unwrap()).collect();
        gates.iter().for_each(Gate::wait);
        let others: Vec<_> = (0..20).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        assert!(hanging.iter().all(AsyncResult::cancel));
        for (x, other) in (0..).zip(others) {
            assert_eq!(other.get().unwrap(), x * x);
        }
        assert!(eventually(|| {
            let now = pool.worker_pids();
            now.len() == setup.workers && !now.iter().any(|pid| pids.contains(pid))
        }));
    }
    assert_whole(&pool);
}
