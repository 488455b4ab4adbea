//! Broadcasts: once in each worker of the moment, in no other process, whatever else happens to the pool.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use pool_core::prelude::*;
use pool_core::{Configured, PoolState, Priority, current_item, current_worker};
use tests::gate::{Gate, count, open_and_hang, pass};
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, crash, nap, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_worker_runs_it_once_in_the_order_of_their_numbers),
        everywhere(it_comes_after_what_a_worker_runs_and_was_sent),
        everywhere(it_waits_for_workers_that_are_starting),
        everywhere(many_threads_may_broadcast_at_once),
        everywhere(no_replacement_runs_it),
        each_method(a_worker_that_is_killed_before_it_has_an_error_in_its_place),
        each_method(workers_that_left_for_idleness_have_no_part_in_it),
        each_method(it_does_not_count_for_the_share_of_a_worker),
        each_method(failures_stand_in_their_places),
        each_method(a_closed_pool_finishes_it_and_an_ended_one_fails_it),
        each_method(it_ends_though_the_pool_shrinks_grows_or_recycles_meanwhile),
        each_method(a_pool_that_breaks_meanwhile_fails_it),
        each_method(the_failure_of_a_start_is_said),
        each_method(all_that_waits_may_be_cancelled),
        once(large_arguments_and_arrays_reach_all).workers(&[5]),
        once(sixty_four_workers_run_it).workers(&[64]),
        once(options_that_cannot_be_kept_are_refused),
    ]
}

/// How often this process has run it; and the number of its worker, that of the item, and its own.
#[pool_task]
fn visit() -> (u64, usize, u64, u32) {
    static VISITS: AtomicU64 = AtomicU64::new(0);
    let worker = current_worker().unwrap();
    (VISITS.fetch_add(1, Ordering::Relaxed), worker.id(), current_item().unwrap().index, worker.pid())
}

fn each_worker_runs_it_once_in_the_order_of_their_numbers(setup: &Setup) {
    let pool = setup.pool();
    for round in 0..20 {
        let seen: Vec<_> = pool.broadcast(visit::Task, ()).unwrap().into_iter().map(Result::unwrap).collect();
        let pids = pool.worker_pids();
        let expected = pids.iter().enumerate().map(|(worker, &pid)| (round, worker, worker as u64, pid));
        assert_eq!(seen, expected.collect::<Vec<_>>());
    }
    assert_eq!(pool.stats().items_succeeded, 20 * setup.workers as u64);
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
}

fn it_comes_after_what_a_worker_runs_and_was_sent(setup: &Setup) {
    let (pool, gate, passed) = (setup.pool(), Gate::new(), Gate::new());
    pool.wait_ready().unwrap();
    let held: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    assert!(eventually(|| pool.running().len() == setup.workers));
    let later = pool.map_async(note::Task.chunk_size(1), [passed.path(); 50]).unwrap();
    thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(visit::Task, ()));
        thread::sleep(Duration::from_millis(50));
        assert!(!broadcast.is_finished() && passed.count() == 0);
        gate.open();
        assert_eq!(broadcast.join().unwrap().unwrap().len(), setup.workers);
    });
    held.into_iter().for_each(|call| _ = call.get().unwrap());
    assert_eq!(later.get().unwrap().len(), 50);
}

#[pool_task]
fn wait_for(gate: &str) {
    pass(gate);
}

fn it_waits_for_workers_that_are_starting(setup: &Setup) {
    let gate = Gate::new();
    let pool = setup.builder().initializer(wait_for::Task, gate.path()).build().unwrap();
    thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(visit::Task, ()));
        thread::sleep(Duration::from_millis(50));
        assert!(!broadcast.is_finished());
        gate.open();
        let seen = broadcast.join().unwrap().unwrap();
        assert!(seen.len() == setup.workers && seen.iter().all(Result::is_ok), "{seen:?}");
    });
}

fn many_threads_may_broadcast_at_once(setup: &Setup) {
    let pool = setup.pool();
    let seen: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..25).map(|_| pool.broadcast(visit::Task, ()).unwrap()).collect::<Vec<_>>()))
            .collect();
        let maps = scope.spawn(|| pool.map(square::Task, 0..20_000).unwrap().len());
        assert_eq!(maps.join().unwrap(), 20_000);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for worker in 0..setup.workers {
        let visits: BTreeSet<_> = seen.iter().map(|seen| seen[worker].as_ref().unwrap().0).collect();
        assert_eq!(visits, (0..200).collect());
    }
}

/// Notes the process that runs it.
#[pool_task]
fn note(gate: &str) -> u32 {
    count(gate);
    std::process::id()
}

/// Workers die all the time; each broadcast is run once by processes that were there, or not at all.
fn no_replacement_runs_it(setup: &Setup) {
    // Some are killed while they start.
    let pool = setup.builder().restart_limit(100).build().unwrap();
    for round in 0..15 {
        let runs = Gate::new();
        assert!(eventually(|| pool.worker_pids().len() == setup.workers));
        let before: BTreeSet<u32> = pool.worker_pids().into_iter().collect();
        let victim = pool.worker_pids().get(round % setup.workers).copied();
        let results = thread::scope(|scope| {
            let broadcast = scope.spawn(|| pool.broadcast(note::Task, runs.path()).unwrap());
            victim.into_iter().for_each(kill_9);
            broadcast.join().unwrap()
        });
        let done: Vec<u32> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        assert!(runs.count() <= results.len(), "{} runs, {results:?}", runs.count());
        assert!(runs.count() >= done.len());
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        }
        // The one that is killed may be replaced before the broadcast comes; all others are those from before.
        let strangers = done.iter().filter(|pid| !before.contains(pid)).count();
        assert!(strangers <= 1, "{before:?} {results:?}");
    }
}

fn a_worker_that_is_killed_before_it_has_an_error_in_its_place(setup: &Setup) {
    let (pool, gate, runs) = (setup.pool(), Gate::new(), Gate::new());
    pool.wait_ready().unwrap();
    let held = pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
    gate.wait();
    let busy = pool.running()[0].clone();
    let results = thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(note::Task, runs.path()).unwrap());
        assert!(eventually(|| runs.count() == setup.workers - 1));
        // So that it is surely submitted.
        kill_9(busy.pid);
        broadcast.join().unwrap()
    });
    held.get().unwrap_err();
    for (worker, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), worker == busy.worker, "{results:?}");
    }
    let error = results[busy.worker].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::WorkerDied, Some(busy.worker)));
    assert!(error.to_string().contains("its worker ended before it ran this: "), "{error}");
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    assert_eq!(runs.count(), setup.workers - 1);
    let pids = pool.broadcast(pid::Task, ()).unwrap();
    assert!(pids.len() == setup.workers && pids.iter().all(Result::is_ok), "{pids:?}");
}

fn workers_that_left_for_idleness_have_no_part_in_it(setup: &Setup) {
    let pool = setup.builder().idle_timeout(Duration::from_millis(20)).build().unwrap();
    assert!(eventually(|| pool.worker_pids().is_empty()));
    assert_eq!(pool.broadcast(pid::Task, ()).unwrap().len(), 0);
    for _ in 0..50 {
        pool.apply(square::Task, 3).unwrap();
        // One may be about to leave, or have left, when the other thread asks.
        let pids = pool.broadcast(pid::Task, ()).unwrap();
        assert!(pids.iter().all(Result::is_ok), "{pids:?}");
        thread::sleep(Duration::from_millis(19));
    }
}

fn it_does_not_count_for_the_share_of_a_worker(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(3).build().unwrap();
    pool.wait_ready().unwrap();
    let pids = pool.worker_pids();
    for _ in 0..10 {
        let seen: Vec<_> = pool.broadcast(pid::Task, ()).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(seen, pids);
    }
    // Beside items that do: nothing is lost, and no worker runs more than it may.
    let seen = thread::scope(|scope| {
        let map = scope.spawn(|| pool.map(visit::Task.chunk_size(1), [(); 60]).unwrap());
        for _ in 0..20 {
            for error in pool.broadcast(square::Task, 4).unwrap().into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
            }
        }
        map.join().unwrap()
    });
    assert!(seen.iter().all(|(before, ..)| *before < 3), "{seen:?}");
}

#[pool_task]
fn fail_in_the_first() -> Result<usize, String> {
    match current_worker().unwrap().id() {
        0 => panic!("not here"),
        1 => Err("nor here".to_owned()),
        worker => Ok(worker),
    }
}

fn failures_stand_in_their_places(setup: &Setup) {
    let pool = setup.builder().workers(4).retries(5).build().unwrap();
    let results = pool.broadcast(fail_in_the_first::Task, ()).unwrap();
    let error = results[0].as_ref().unwrap_err();
    assert_eq!((error.panic_message(), error.item(), error.attempts()), (Some("not here"), Some(0), 1));
    assert_eq!(results[1].as_ref().unwrap(), &Err("nor here".to_owned()));
    assert_eq!(results[3].as_ref().unwrap(), &Ok(3));
    // Each costs its worker, and none is tried again.
    let results = pool.broadcast(crash::Task, Some(Way::Abort)).unwrap();
    let errors: Vec<_> = results.into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::WorkerDied && error.attempts() == 1), "{errors:?}");
    let limit = Duration::from_millis(50);
    let results = pool.broadcast(nap::Task.timeout(limit).label("long"), 60_000).unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::TaskTimeout), "{results:?}");
    assert_eq!(pool.broadcast(square::Task, 5).unwrap().into_iter().map(Result::unwrap).sum::<u64>(), 100);
}

fn a_closed_pool_finishes_it_and_an_ended_one_fails_it(setup: &Setup) {
    for terminates in [false, true] {
        let (pool, gate) = (setup.pool(), Gate::new());
        pool.wait_ready().unwrap();
        let held: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
        assert!(eventually(|| pool.running().len() == setup.workers));
        thread::scope(|scope| {
            let broadcast = scope.spawn(|| pool.broadcast(pid::Task, ()).unwrap());
            assert!(eventually(|| pool.stats().items_pending == 2 * setup.workers as u64));
            if terminates {
                pool.terminate()
            } else {
                pool.close()
            }
            gate.open();
            let results = broadcast.join().unwrap();
            assert_eq!(results.len(), setup.workers);
            let kinds = results.iter().map(|result| result.as_ref().err().map(pool_core::Error::kind));
            let expected = terminates.then_some(ErrorKind::Terminated);
            assert!(kinds.into_iter().all(|kind| kind == expected), "{results:?}");
        });
        pool.join().unwrap();
        held.into_iter().for_each(|call| _ = call.get());
        assert_eq!(pool.broadcast(pid::Task, ()).unwrap_err().kind(), ErrorKind::Closed);
    }
}

fn it_ends_though_the_pool_shrinks_grows_or_recycles_meanwhile(setup: &Setup) {
    let pool = setup.builder().max_tasks_per_worker(2).max_worker_rss(1).build().unwrap();
    thread::scope(|scope| {
        let broadcasts = scope.spawn(|| {
            for _ in 0..60 {
                for error in pool.broadcast(nap::Task, 1).unwrap().into_iter().filter_map(Result::err) {
                    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
                }
            }
        });
        let mut workers = (1..=4).cycle();
        while !broadcasts.is_finished() {
            pool.resize(workers.next().unwrap()).unwrap();
            pool.map(square::Task, 0..50).unwrap();
        }
        broadcasts.join().unwrap();
    });
}

/// Fails when the file is there.
#[pool_task]
fn start(gate: &str) -> Result<(), String> {
    if std::path::Path::new(gate).exists() { Err("not any more".to_owned()) } else { Ok(()) }
}

#[pool_task]
fn fail_in_a_while() -> Result<(), String> {
    thread::sleep(Duration::from_millis(300));
    Err("no licence is left".to_owned())
}

fn the_failure_of_a_start_is_said(setup: &Setup) {
    let limited = wait_for::Task.timeout(Duration::from_millis(300));
    let gate = Gate::new();
    let cases = [
        (setup.builder().initializer(fail_in_a_while::Task, ()), "failed: no licence is left"),
        (setup.builder().initializer(limited, gate.path()), "exceeded its limit of 300 ms after "),
    ];
    for (builder, text) in cases {
        let pool = builder.restart_limit(100).build().unwrap();
        let results = pool.broadcast(pid::Task, ()).unwrap();
        assert_eq!(results.len(), setup.workers);
        for error in results.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::WorkerDied);
            let error = error.to_string();
            assert!(error.contains("its worker could not be started: the initializer `"), "{error}");
            assert!(error.contains(text), "{error}");
        }
    }
}

fn a_pool_that_breaks_meanwhile_fails_it(setup: &Setup) {
    let (fails, gate) = (Gate::new(), Gate::new());
    let pool = setup.builder().restart_limit(0).initializer(start::Task, fails.path()).build().unwrap();
    pool.wait_ready().unwrap();
    let held = pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
    gate.wait();
    fails.open();
    thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(pid::Task, ()));
        pool.worker_pids().into_iter().for_each(kill_9);
        match broadcast.join().unwrap() {
            Ok(results) => {
                for error in results.into_iter().filter_map(Result::err) {
                    assert!(matches!(error.kind(), ErrorKind::WorkerDied | ErrorKind::Broken), "{error}");
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Broken),
        }
    });
    held.get().unwrap_err();
    assert!(eventually(|| pool.state() == PoolState::Broken));
}

#[pool_task]
fn count_and_pass(begun: &str, gate: &str) {
    count(begun);
    pass(gate);
}

fn all_that_waits_may_be_cancelled(setup: &Setup) {
    let (pool, gate, begun, runs) = (setup.pool(), Gate::new(), Gate::new(), Gate::new());
    pool.wait_ready().unwrap();
    let hold = |_| pool.apply_async(count_and_pass::Task, (begun.path(), gate.path())).unwrap();
    let held: Vec<_> = (0..setup.workers).map(hold).collect();
    assert!(eventually(|| begun.count() == setup.workers));
    thread::scope(|scope| {
        let broadcast = scope.spawn(|| pool.broadcast(note::Task, runs.path()).unwrap());
        assert!(eventually(|| pool.stats().items_pending == 2 * setup.workers as u64));
        assert_eq!(pool.cancel_pending(), setup.workers as u64);
        let results = broadcast.join().unwrap();
        assert!(
            results.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::Cancelled),
            "{results:?}"
        );
    });
    gate.open();
    held.into_iter().for_each(|call| call.get().unwrap());
    assert_eq!((runs.count(), pool.broadcast(pid::Task, ()).unwrap().len()), (0, setup.workers));
}

#[pool_task]
fn sum(bytes: Vec<u8>, numbers: pool_core::SharedSlice<u64>) -> (usize, u64) {
    (bytes.len(), numbers.iter().sum())
}

fn large_arguments_and_arrays_reach_all(setup: &Setup) {
    let pool = setup.pool();
    let numbers = pool_core::SharedVec::from_slice(&[1_u64; 1000]).unwrap().freeze().unwrap();
    let results = pool.broadcast(sum::Task, (vec![1; 5 << 20], numbers)).unwrap();
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, vec![(5 << 20, 1000); setup.workers]);
}

fn sixty_four_workers_run_it(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        let pids: BTreeSet<_> = pool.broadcast(pid::Task, ()).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(pids.len(), setup.workers);
    }
}

fn options_that_cannot_be_kept_are_refused(setup: &Setup) {
    let pool = setup.builder().max_pending(1).build().unwrap();
    let says = |task: Configured<square::Task>, name: &str| {
        let error = pool.broadcast(task, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    };
    says(square::Task.retries(1), "retries");
    says(square::Task.max_concurrent(1), "max_concurrent");
    says(square::Task.chunk_size(1), "chunk_size");
    assert_eq!(pool.broadcast(square::Task.timeout(Duration::ZERO), 2).unwrap_err().kind(), ErrorKind::InvalidInput);
    let task = square::Task.retries(0).priority(Priority::High).label("two").seed(3);
    assert_eq!(pool.broadcast(task, 2).unwrap().len(), setup.workers, "it does not wait for room");
}
