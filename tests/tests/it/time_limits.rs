//! Tasks that take too long.

use std::time::Instant;

use pool_core::prelude::*;
use tests::gate::{Gate, count};
use tests::leaks::threads;
use tests::procs::{SOON, eventually};
use tests::tasks::{Stubborn, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_time_limit_ends_a_task_whatever_it_does),
        everywhere(a_time_limit_ends_only_the_item_that_is_too_slow),
        each_method(a_time_limit_counts_from_the_start_of_the_item),
        once(waiting_for_a_time_limit_costs_nothing),
        each_method(a_time_limit_may_stand_in_the_attribute),
        each_method(a_time_limit_may_be_the_pools),
        each_method(a_time_limit_of_zero_is_refused),
        each_method(a_task_may_know_its_time_limit),
        each_method(a_time_limit_and_retries_go_together),
    ]
}

#[pool_task]
fn never_end(how: Stubborn) {
    how.go();
}

const SHORT: Duration = Duration::from_millis(100);

fn a_time_limit_ends_a_task_whatever_it_does(setup: &Setup) {
    let pool = setup.pool();
    for how in Stubborn::ALL {
        let start = Instant::now();
        let stubborn = pool.apply_async(never_end::Task.timeout(SHORT), how).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        let error = stubborn.get().unwrap_err();
        assert!(start.elapsed() >= SHORT);
        assert_eq!(error.kind(), ErrorKind::TaskTimeout, "{how:?}: {error}");
        assert!(error.task().unwrap().ends_with("::never_end") && error.worker_pid().is_some(), "{error}");
        assert!(error.to_string().contains("exceeded its limit of 100 ms after "), "{error}");
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
    }
    assert_eq!(pool.stats().items_failed, 4);
}

fn a_time_limit_ends_only_the_item_that_is_too_slow(setup: &Setup) {
    let pool = setup.pool();
    for chunk_size in [1, 10] {
        let task = nap::Task.timeout(Duration::from_millis(500)).chunk_size(chunk_size);
        let items = (0..40).map(|item| if item % 13 == 12 { 30_000 } else { 1 });
        for (item, result) in pool.map_results(task, items).unwrap().into_iter().enumerate() {
            match result {
                Ok(_) => assert_ne!(item % 13, 12),
                Err(error) => {
                    assert_eq!((error.kind(), error.item()), (ErrorKind::TaskTimeout, Some(item)), "{error}");
                    assert_eq!(item % 13, 12, "{error}");
                }
            }
        }
    }
}

fn a_time_limit_counts_from_the_start_of_the_item(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    // All in all, and behind one another, they take much longer than the limit of each.
    let task = nap::Task.timeout(Duration::from_millis(2000));
    let calls: Vec<_> = (0..20).map(|_| pool.apply_async(task, 100).unwrap()).collect();
    let mut map = pool.map_async(task.chunk_size(30), [100; 30]).unwrap();
    assert!(calls.into_iter().all(|job| job.get().is_ok()));
    assert_eq!(map.get_timeout(2 * SOON).unwrap(), [100; 30]);
}

/// Hundredths of a second that this process's thread of that name has run, see proc_pid_stat(5).
fn cpu_time(thread: &str) -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
    let stat = stats.filter(|stat| stat.contains(thread)).last().expect("a thread of this name");
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn waiting_for_a_time_limit_costs_nothing(setup: &Setup) {
    let pool = setup.pool();
    let job = pool.apply_async(nap::Task.timeout(SOON), 1000).unwrap();
    assert!(eventually(|| threads().contains(&"pool-super".to_owned())), "a thread names itself in its own time");
    let before = cpu_time("pool-super");
    assert_eq!(job.get().unwrap(), 1000);
    let spent = cpu_time("pool-super") - before;
    assert!(spent < 30, "{spent} of 100 hundredths of a second");
}

#[pool_task(timeout = "100ms")]
fn hasty(ms: u64) -> u64 {
    nap(ms)
}

fn a_time_limit_may_stand_in_the_attribute(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(hasty::Task, 30_000).unwrap_err().kind(), ErrorKind::TaskTimeout);
    assert_eq!(pool.apply(hasty::Task.timeout(SOON), 300).unwrap(), 300);
}

fn a_time_limit_may_be_the_pools(setup: &Setup) {
    let pool = setup.builder().task_timeout(SHORT).build().unwrap();
    assert_eq!(pool.apply(nap::Task, 30_000).unwrap_err().kind(), ErrorKind::TaskTimeout);
    assert_eq!(pool.apply(nap::Task.timeout(SOON), 300).unwrap(), 300);
    assert_eq!(pool.map(nap::Task, [1; 10]).unwrap(), [1; 10]);
}

fn a_time_limit_of_zero_is_refused(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(nap::Task.timeout(Duration::ZERO), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(pool.apply(nap::Task.timeout(Duration::MAX), 1).unwrap(), 1);
}

#[pool_task]
fn time_left() -> Option<Duration> {
    current_worker()?.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

fn a_task_may_know_its_time_limit(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let limit = Duration::from_secs(1000);
    let left = pool.apply(time_left::Task.timeout(limit), ()).unwrap().unwrap();
    assert!(left <= limit && left > limit / 2, "{left:?}");
    assert_eq!(pool.apply(time_left::Task, ()).unwrap(), None);
    assert!(pool.map(time_left::Task.timeout(limit), [(); 10]).unwrap().iter().all(Option::is_some));
}

#[pool_task]
fn hang_at_first(calls: &str) -> usize {
    let before = count(calls);
    if before < 2 {
        nap(30_000);
    }
    before
}

fn a_time_limit_and_retries_go_together(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let task = hang_at_first::Task.timeout(Duration::from_millis(300));
    assert_eq!(pool.apply(task.retries(2), calls.path()).unwrap(), 2);
    let others = Gate::new();
    assert_eq!(pool.apply(task.retries(1), others.path()).unwrap_err().kind(), ErrorKind::TaskTimeout);
}
