//! Workers and the fork server killed from outside: running items fail or run again, all else goes on.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::thread;

use nix::sys::signal::Signal;
use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, open_and_hang};
use tests::procs::{descendants, eventually, fork_server, is_alive, kill_9, signal};
use tests::tasks::{nap, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(an_idle_worker_that_is_killed_is_replaced_silently),
        everywhere(a_busy_worker_that_is_killed_costs_at_most_one_item_of_a_thousand),
        everywhere(all_workers_killed_at_once_cost_one_item_each),
        each_method(workers_that_are_killed_again_and_again_stop_nothing),
        each_method(a_worker_that_dies_after_its_last_job_does_not_hold_up_the_end),
        each_method(stopped_workers_do_not_hold_up_terminate),
        each_method(stopped_workers_do_not_hold_up_join).workers(&[2]),
        each_method(the_fork_server_killed_while_idle_is_replaced)
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        each_method(the_fork_server_killed_under_load_costs_the_running_items)
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn])
            .workers(&[1, 2, 5]),
        each_method(a_pool_of_forks_with_a_killed_server_is_broken).methods(&[StartMethod::Fork]),
        each_method(the_fork_server_killed_while_the_pool_ends_holds_nothing_up),
        each_method(a_fork_server_that_is_stopped_holds_nothing_up),
        each_method(a_signal_that_a_task_sends_itself_ends_it_at_once),
    ]
}

fn assert_whole(pool: &Pool, setup: &Setup) {
    assert!(eventually(|| pool.worker_pids().len() == setup.workers), "{:?}", pool.worker_pids());
    assert_eq!(pool.map(square::Task, 0..1000).unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(pool.stats().items_pending, 0);
}

fn an_idle_worker_that_is_killed_is_replaced_silently(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(square::Task, 2).unwrap(), 4);
    for _ in 0..3 {
        let victim = pool.worker_pids()[0];
        kill_9(victim);
        // At once, when it may just still begin an item, and again when the death has been noticed.
        assert_eq!(pool.map(square::Task.retries(5), 0..10).unwrap().len(), 10);
        assert!(eventually(|| !pool.worker_pids().contains(&victim)));
        assert_whole(&pool, setup);
    }
    assert_eq!((pool.stats().workers_died, pool.stats().items_failed), (3, 0));
}

fn a_busy_worker_that_is_killed_costs_at_most_one_item_of_a_thousand(setup: &Setup) {
    let pool = setup.pool();
    for chunk_size in [None, Some(50)] {
        let task = chunk_size.map_or(nap::Task.retries(0), |size| nap::Task.chunk_size(size));
        let succeeded = pool.stats().items_succeeded;
        let results = thread::scope(|scope| {
            scope.spawn(|| {
                assert!(eventually(|| pool.stats().items_succeeded > succeeded + 100));
                kill_9(pool.worker_pids()[0]);
            });
            pool.map_results(task, [1; 1000]).unwrap()
        });
        assert_eq!(results.len(), 1000);
        let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert!(errors.len() <= 1, "{errors:?}");
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
            assert!(error.to_string().contains("killed by signal 9 (SIGKILL)"), "{error}");
        }
        assert_whole(&pool, setup);
    }
}

fn all_workers_killed_at_once_cost_one_item_each(setup: &Setup) {
    let pool = setup.pool();
    let map = pool.map_async(nap::Task, [5; 200]).unwrap();
    let calls: Vec<_> = (0..200).map(|_| pool.apply_async(nap::Task, 1).unwrap()).collect();
    assert!(eventually(|| pool.stats().items_succeeded > 20));
    pool.worker_pids().into_iter().for_each(kill_9);
    let failed = calls.into_iter().filter_map(|job| job.get().err());
    let failed: Vec<_> = failed.inspect(|error| assert_eq!(error.kind(), ErrorKind::WorkerDied)).collect();
    let of_map = usize::from(map.get().is_err());
    assert!(failed.len() + of_map <= setup.workers, "{failed:?}");
    assert!(pool.stats().items_failed <= setup.workers as u64);
    assert_whole(&pool, setup);
}

fn workers_that_are_killed_again_and_again_stop_nothing(setup: &Setup) {
    // Some may be killed before they are ready.
    let pool = setup.builder().restart_limit(100).build().unwrap();
    let results = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            for round in 0..30 {
                let pids = pool.worker_pids();
                if let Some(pid) = pids.get(round % 2).or(pids.first()) {
                    kill_9(*pid);
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut results = Vec::new();
        while !killer.is_finished() {
            results.extend(pool.map_results(nap::Task, [1; 100]).unwrap());
        }
        results
    });
    let errors = results.iter().filter(|result| result.is_err()).count();
    assert!(errors <= 30, "{errors} items failed of 30 kills");
    assert_eq!(pool.state(), PoolState::Open);
    assert_whole(&pool, setup);
}

fn a_worker_that_dies_after_its_last_job_does_not_hold_up_the_end(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let job = pool.apply_async(square::Task, 3).unwrap();
    pool.close();
    pids.into_iter().for_each(kill_9);
    pool.join().unwrap();
    // It ran, or the worker was killed before and it was too late for another one; in no case is it open.
    assert!(job.ready());
    match job.get() {
        Ok(value) => assert_eq!(value, 9),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}"),
    }
}

fn stopped_workers_do_not_hold_up_join(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.map(square::Task, 0..10).unwrap().len(), 10);
    let pids = pool.worker_pids();
    pids.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
    pool.close();
    pool.join().unwrap();
    assert!(!pids.into_iter().any(is_alive));
}

fn stopped_workers_do_not_hold_up_terminate(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    pids.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
    let waiting = pool.apply_async(square::Task, 1).unwrap();
    pool.terminate();
    assert_eq!(waiting.get().unwrap_err().kind(), ErrorKind::Terminated);
    pool.join().unwrap();
    assert!(!pids.into_iter().any(is_alive));
}

fn the_fork_server_killed_while_idle_is_replaced(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        let (server, pids) = (fork_server(), pool.worker_pids());
        kill_9(server.pid);
        assert!(eventually(|| !is_alive(server.pid)));
        assert_eq!(pool.map(square::Task.retries(5), 0..10).unwrap().len(), 10);
        assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))), "workers outlived their parent");
        assert_whole(&pool, setup);
        assert_eq!(pool.state(), PoolState::Open);
    }
    assert_eq!(pool.stats().items_failed, 0);
}

fn the_fork_server_killed_under_load_costs_the_running_items(setup: &Setup) {
    let pool = setup.pool();
    let gates: Vec<_> = (0..setup.workers).map(|_| Gate::new()).collect();
    let running: Vec<_> =
        gates.iter().map(|gate| pool.apply_async(open_and_hang::Task, gate.path()).unwrap()).collect();
    let queued: Vec<_> = (0..100).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    gates.iter().for_each(Gate::wait);
    kill_9(fork_server().pid);
    for job in running {
        let error = job.get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    }
    for (x, job) in (0..).zip(queued) {
        assert_eq!(job.get().unwrap(), x * x);
    }
    assert_whole(&pool, setup);
}

fn a_pool_of_forks_with_a_killed_server_is_broken(setup: &Setup) {
    let pool = setup.pool();
    let running = pool.map_async(nap::Task, [30_000; 10]).unwrap();
    let queued: Vec<_> = (0..100).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    kill_9(fork_server().pid);
    for job in queued {
        let error = job.get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
    }
    let error = running.get().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken | ErrorKind::WorkerDied), "{error}");
    assert_eq!(pool.state(), PoolState::Broken);
    let error = pool.apply(pid::Task, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
    pool.close();
    pool.join().unwrap();
    assert_eq!(descendants(), []);
}

fn the_fork_server_killed_while_the_pool_ends_holds_nothing_up(setup: &Setup) {
    for round in 0..5 {
        let pool = setup.pool();
        let pids: HashSet<_> = pool.worker_pids().into_iter().collect();
        let server = fork_server().pid;
        drop(pool.apply_async(nap::Task, 30_000).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| kill_9(server));
            if round % 2 == 0 {
                pool.terminate();
                pool.join().unwrap();
            }
        });
        drop(pool);
        assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))));
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
}

fn a_fork_server_that_is_stopped_holds_nothing_up(setup: &Setup) {
    let pool = setup.pool();
    let (server, pids) = (fork_server().pid, pool.worker_pids());
    signal(server, Signal::SIGSTOP);
    assert!(eventually(|| fork_server().state == 'T'));
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    // It does not tell of this death, and a server that can be replaced is.
    let limited = pool.apply(nap::Task.timeout(Duration::from_millis(100)), 30_000);
    assert_eq!(limited.unwrap_err().kind(), ErrorKind::TaskTimeout);
    if setup.method != StartMethod::Fork {
        assert_whole(&pool, setup);
        assert_ne!(fork_server().pid, server);
    }
    drop(pool);
    assert!(!is_alive(server) && !pids.into_iter().any(is_alive));
    let pool = setup.pool();
    let (server, pids) = (fork_server().pid, pool.worker_pids());
    signal(server, Signal::SIGSTOP);
    drop(pool);
    assert!(!is_alive(server) && !pids.into_iter().any(is_alive));
}

/// Gives the signal back if it survives.
#[pool_task]
fn signal_itself(signal: i32, is_killed: bool) -> i32 {
    let signal_of = Signal::try_from(signal).unwrap();
    if is_killed {
        nix::sys::signal::kill(nix::unistd::Pid::this(), signal_of).unwrap();
    } else {
        nix::sys::signal::raise(signal_of).unwrap();
    }
    signal
}

fn a_signal_that_a_task_sends_itself_ends_it_at_once(setup: &Setup) {
    let pool = setup.pool();
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT, Signal::SIGTERM] {
        for is_killed in [false, true] {
            let error = pool.apply(signal_itself::Task, (signal as i32, is_killed)).unwrap_err();
            assert_eq!(error.exit_status().unwrap().signal(), Some(signal as i32), "{error}");
        }
    }
}
