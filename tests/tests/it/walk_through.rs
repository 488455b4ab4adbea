//! The first steps of a new user, one by one.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pool_core::PoolState;
use pool_core::prelude::*;
use tests::host::{Host, say};
use tests::leaks::Snapshot;
use tests::procs::{SOON, is_alive};
use tests::tasks::{halve, nap, nap_where, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere, once, program};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(the_constructor_starts_the_workers),
        once(without_a_count_there_are_as_many_workers_as_usable_cpus),
        each_method(zero_workers_are_refused),
        everywhere(ten_calls_run_in_all_workers_and_not_in_the_host),
        everywhere(after_close_every_submission_is_refused),
        everywhere(close_twice_is_fine_and_submitted_jobs_go_on),
        everywhere(join_of_an_open_pool_is_refused_and_changes_nothing),
        everywhere(join_waits_for_all_work_and_may_be_repeated),
        everywhere(results_after_join_are_still_there),
        everywhere(results_after_terminate_are_still_there),
        everywhere(terminate_ends_long_tasks_at_once_and_completes_every_handle),
        everywhere(a_get_that_times_out_changes_nothing),
        everywhere(map_returns_results_in_input_order),
        everywhere(map_async_gives_one_handle_for_the_whole_list),
        everywhere(imap_yields_results_in_input_order),
        everywhere(imap_that_times_out_loses_nothing),
        everywhere(imap_goes_on_behind_a_failed_item),
        everywhere(imap_is_usable_after_close_and_join),
        everywhere(dropping_the_pool_terminates_it_and_leaves_nothing),
        each_method(a_program_that_ends_with_tasks_running_keeps_its_exit_code),
        program(returns_from_main_with_a_leaked_pool),
        program(exits_with_seven),
    ]
}

fn the_constructor_starts_the_workers(setup: &Setup) {
    let pool = setup.pool();
    let pids: HashSet<_> = pool.worker_pids().into_iter().collect();
    assert_eq!((pids.len(), pool.workers()), (setup.workers, setup.workers));
    assert!(!pids.contains(&std::process::id()));
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert_eq!(pool.state(), PoolState::Open);
}

fn without_a_count_there_are_as_many_workers_as_usable_cpus(_: &Setup) {
    let me = Pid::from_raw(0);
    let usable = sched_getaffinity(me).unwrap();
    let first = (0..CpuSet::count()).find(|cpu| usable.is_set(*cpu).unwrap()).unwrap();
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(me, &one).unwrap();
    assert_eq!(Pool::builder().build().unwrap().workers(), 1);
    sched_setaffinity(me, &usable).unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!(Pool::builder().build().unwrap().workers(), cpus);
}

fn zero_workers_are_refused(setup: &Setup) {
    let error = setup.with_workers(0).builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("at least 1"), "{error}");
}

fn ten_calls_run_in_all_workers_and_not_in_the_host(setup: &Setup) {
    let pool = setup.pool();
    let start = Instant::now();
    let jobs: Vec<_> = (0..10).map(|_| pool.apply_async(nap_where::Task, 200).unwrap()).collect();
    assert!(!jobs.last().unwrap().ready(), "submission waited for the jobs, {:?}", start.elapsed());
    // In any order.
    let pids: HashSet<_> = jobs.into_iter().rev().map(|job| job.get().unwrap()).collect();
    assert_eq!(pids.len(), setup.workers);
    assert!(!pids.contains(&std::process::id()));
}

fn after_close_every_submission_is_refused(setup: &Setup) {
    let pool = setup.pool();
    pool.close();
    let refused = [
        pool.apply(square::Task, 1).unwrap_err(),
        pool.apply_async(square::Task, 1).unwrap_err(),
        pool.map(square::Task, [1]).unwrap_err(),
        pool.map_async(square::Task, [1]).unwrap_err(),
        pool.map_results(square::Task, [1]).unwrap_err(),
        pool.imap(square::Task, [1]).unwrap_err(),
        pool.imap_unordered(square::Task, [1]).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("takes no more jobs"), "{error}");
    }
    pool.join().unwrap();
    assert_eq!(pool.apply(square::Task, 1).unwrap_err().kind(), ErrorKind::Closed);
}

fn close_twice_is_fine_and_submitted_jobs_go_on(setup: &Setup) {
    let pool = setup.pool();
    let jobs: Vec<_> = (0..20).map(|_| pool.apply_async(nap::Task, 10).unwrap()).collect();
    pool.close();
    pool.close();
    assert_eq!(pool.state(), PoolState::Closed);
    assert!(jobs.into_iter().all(|job| job.get().unwrap() == 10));
}

fn join_of_an_open_pool_is_refused_and_changes_nothing(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.join().unwrap_err().kind(), ErrorKind::Running);
    assert_eq!(pool.join_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::Running);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

fn join_waits_for_all_work_and_may_be_repeated(setup: &Setup) {
    let pool = setup.pool();
    let jobs: Vec<_> = (0..10).map(|_| pool.apply_async(nap::Task, 50).unwrap()).collect();
    let pids = pool.worker_pids();
    pool.close();
    assert_eq!(pool.join_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    pool.join().unwrap();
    assert!(jobs.iter().all(|job| job.successful() == Some(true)));
    assert!(!pids.into_iter().any(is_alive));
    pool.join().unwrap();
    pool.join_timeout(Duration::ZERO).unwrap();
}

fn results_after_join_are_still_there(setup: &Setup) {
    let pool = setup.pool();
    let one = pool.apply_async(square::Task, 7).unwrap();
    let all = pool.map_async(square::Task, 0..1000).unwrap();
    let failed = pool.apply_async(halve::Task, 7).unwrap();
    pool.close();
    pool.join().unwrap();
    drop(pool);
    assert_eq!(one.get().unwrap(), 49);
    assert_eq!(all.get().unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(failed.get().unwrap_err().panic_message(), Some("7 is odd"));
}

fn results_after_terminate_are_still_there(setup: &Setup) {
    let pool = setup.pool();
    let done = pool.apply_async(square::Task, 7).unwrap();
    let all_done = pool.map_async(square::Task, 0..10).unwrap();
    done.wait();
    all_done.wait();
    let open = pool.apply_async(nap::Task, 30_000).unwrap();
    pool.terminate();
    pool.join().unwrap();
    assert_eq!(done.get().unwrap(), 49);
    assert_eq!(all_done.get().unwrap().len(), 10);
    assert_eq!(open.get().unwrap_err().kind(), ErrorKind::Terminated);
}

fn terminate_ends_long_tasks_at_once_and_completes_every_handle(setup: &Setup) {
    let pool = setup.pool();
    let start = Instant::now();
    let calls: Vec<_> = (0..3 * setup.workers).map(|_| pool.apply_async(nap::Task, 30_000).unwrap()).collect();
    let map = pool.map_async(nap::Task, [30_000; 20]).unwrap();
    let mut lazy = pool.imap(nap::Task, [30_000; 3]).unwrap();
    assert_eq!(lazy.next_timeout(Duration::from_millis(100)).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    pool.terminate();
    pool.terminate();
    assert_eq!(pool.state(), PoolState::Terminated);
    for call in calls {
        let error = call.get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Terminated, "{error}");
    }
    assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Terminated);
    let kinds: Vec<_> = lazy.by_ref().map(|result| result.unwrap_err().kind()).collect();
    assert_eq!(kinds, [ErrorKind::Terminated; 3]);
    assert!(lazy.next().is_none());
    pool.join().unwrap();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(pool.apply(square::Task, 1).unwrap_err().kind(), ErrorKind::Closed);
}

fn a_get_that_times_out_changes_nothing(setup: &Setup) {
    let pool = setup.pool();
    let mut job = pool.apply_async(nap::Task, 500).unwrap();
    for limit in [0, 1, 20].map(Duration::from_millis) {
        let start = Instant::now();
        assert_eq!(job.get_timeout(limit).unwrap_err().kind(), ErrorKind::Timeout);
        assert!(start.elapsed() >= limit);
    }
    assert_eq!(job.get_timeout(SOON).unwrap(), 500);
    assert_eq!(job.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn map_returns_results_in_input_order(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.map(square::Task, 0..10).unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    assert_eq!(pool.map(square::Task, vec![3, 1, 2]).unwrap(), [9, 1, 4]);
    assert_eq!(pool.map(square::Task, []).unwrap(), [0; 0]);
    let many: Vec<u64> = (0..20_000).collect();
    assert_eq!(pool.map(square::Task, many).unwrap(), (0..20_000).map(|x| x * x).collect::<Vec<_>>());
    // Slow ones first, so that results overtake each other.
    let naps = [60, 50, 40, 30, 20, 10, 0];
    assert_eq!(pool.map(nap::Task, naps).unwrap(), naps);
}

fn map_async_gives_one_handle_for_the_whole_list(setup: &Setup) {
    let pool = setup.pool();
    let mut job = pool.map_async(nap::Task, [100; 10]).unwrap();
    assert!(!job.ready());
    assert_eq!(job.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(job.get().unwrap(), [100; 10]);
    assert_eq!(pool.map_async(square::Task, []).unwrap().get().unwrap(), [0; 0]);
}

fn imap_yields_results_in_input_order(setup: &Setup) {
    let pool = setup.pool();
    let mut squares = pool.imap(square::Task, 0..10_000).unwrap();
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    assert_eq!(squares.size_hint().1, Some(9_999));
    assert!(squares.by_ref().map(Result::unwrap).eq((1..10_000).map(|x| x * x)));
    assert!((0..3).all(|_| squares.next().is_none()));
    assert!(pool.imap(square::Task, []).unwrap().next().is_none());
}

fn imap_that_times_out_loses_nothing(setup: &Setup) {
    let pool = setup.pool();
    let mut naps = pool.imap(nap::Task, [300, 1, 2]).unwrap();
    let early = naps.next_timeout(Duration::from_millis(20)).unwrap().unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Timeout);
    assert_eq!(naps.next_timeout(SOON).unwrap().unwrap(), 300);
    assert_eq!(naps.next().unwrap().unwrap(), 1);
    assert_eq!(naps.next_timeout(SOON).unwrap().unwrap(), 2);
    assert!(naps.next_timeout(Duration::ZERO).is_none());
    assert!(naps.next().is_none());
}

fn imap_goes_on_behind_a_failed_item(setup: &Setup) {
    let pool = setup.pool();
    let results: Vec<_> = pool.imap(halve::Task, 0..6).unwrap().collect();
    let values: Vec<_> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
    assert_eq!(values, [Some(0), None, Some(1), None, Some(2), None]);
    assert_eq!(results[3].as_ref().unwrap_err().item(), Some(3));
}

fn imap_is_usable_after_close_and_join(setup: &Setup) {
    let pool = setup.pool();
    let pulled = Cell::new(0);
    let mut squares = pool.imap(square::Task, (0..100).inspect(|_| pulled.set(pulled.get() + 1))).unwrap();
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    pool.close();
    pool.join().unwrap();
    let pulled = pulled.replace(0);
    assert!(squares.by_ref().take(pulled - 1).map(Result::unwrap).eq((1..pulled as u64).map(|x| x * x)));
    let rest = (pulled < 100).then_some(ErrorKind::Closed);
    assert_eq!(squares.next().map(|result| result.unwrap_err().kind()), rest);
    assert!(squares.next().is_none());
}

fn dropping_the_pool_terminates_it_and_leaves_nothing(setup: &Setup) {
    let before = Snapshot::take();
    let jobs: Vec<_> = {
        let pool = setup.pool();
        assert!(is_alive(pool.apply(pid::Task, ()).unwrap()));
        (0..2 * setup.workers).map(|_| pool.apply_async(nap::Task, 30_000).unwrap()).collect()
    };
    assert!(jobs.iter().all(AsyncResult::ready));
    for job in jobs {
        assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
    }
    before.assert_restored();
}

fn a_program_that_ends_with_tasks_running_keeps_its_exit_code(setup: &Setup) {
    for (host, code) in
        [(Host::start(returns_from_main_with_a_leaked_pool, setup), 0), (Host::start(exits_with_seven, setup), 7)]
    {
        let (status, stderr) = host.wait();
        assert_eq!((status.code(), stderr.as_str()), (Some(code), ""));
    }
}

fn returns_from_main_with_a_leaked_pool(setup: &Setup) {
    let pool = Box::leak(Box::new(setup.pool()));
    drop(pool.apply_async(nap::Task, 30_000).unwrap());
    say("started");
}

fn exits_with_seven(setup: &Setup) {
    let pool = setup.pool();
    drop(pool.map_async(nap::Task, [30_000; 10]).unwrap());
    std::process::exit(7);
}
