//! Tasks that take too long, and tasks that are worth another try.

use std::time::Instant;

use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};
use pool_core::prelude::*;
use tests::gate::{Gate, count};
use tests::leaks::threads;
use tests::procs::{SOON, eventually};
use tests::tasks::{Way, nap, square};
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
        everywhere(a_task_that_dies_the_first_times_succeeds_with_retries),
        each_method(retries_that_do_not_suffice_end_in_the_last_death),
        each_method(a_time_limit_and_retries_go_together),
        each_method(neither_a_panic_nor_an_error_is_retried),
    ]
}

/// How a task may refuse to end.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum Stubborn {
    Sleeps,
    Loops,
    IgnoresSignals,
    StopsItself,
}

#[pool_task]
fn never_end(how: Stubborn) {
    match how {
        Stubborn::Sleeps => {}
        Stubborn::Loops => loop {
            std::hint::spin_loop();
        },
        Stubborn::IgnoresSignals => {
            // SAFETY:
            // - no handler of ours runs.
            unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.unwrap();
            SigSet::all().thread_block().unwrap();
        }
        Stubborn::StopsItself => raise(Signal::SIGSTOP).unwrap(),
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

const SHORT: Duration = Duration::from_millis(100);

fn a_time_limit_ends_a_task_whatever_it_does(setup: &Setup) {
    let pool = setup.pool();
    for how in [Stubborn::Sleeps, Stubborn::Loops, Stubborn::IgnoresSignals, Stubborn::StopsItself] {
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
fn die_at_first(calls: &str, deaths: usize, way: Way) -> usize {
    let before = count(calls);
    if before < deaths {
        way.go();
    }
    before
}

fn a_task_that_dies_the_first_times_succeeds_with_retries(setup: &Setup) {
    let pool = setup.pool();
    for way in [Way::ExitZero, Way::Abort, Way::StackOverflow, Way::Kill] {
        let calls = Gate::new();
        let task = die_at_first::Task.retries(3);
        assert_eq!(pool.apply(task, (calls.path(), 3, way)).unwrap(), 3);
        // In a map each item has its own tries, and the others run once.
        let gates: Vec<_> = (0..10).map(|_| Gate::new()).collect();
        let items = (0..).zip(&gates).map(|(item, gate)| (gate.path(), if item == 4 { 2 } else { 0 }, way));
        let tries = pool.map(task.chunk_size(5), items).unwrap();
        assert_eq!(tries, [0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
    }
}

fn retries_that_do_not_suffice_end_in_the_last_death(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let error = pool.apply(die_at_first::Task.retries(2), (calls.path(), 99, Way::ExitThree)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    assert_eq!(calls.count(), 3);
    // A pool may be patient by default, and a call may still not be.
    let patient = Gate::new();
    let pool = {
        drop(pool);
        setup.builder()
    }
    .retries(2);
    assert!(tests::procs::eventually(|| tests::leaks::threads().len() == 1));
    let pool = pool.build().unwrap();
    assert_eq!(pool.apply(die_at_first::Task, (patient.path(), 2, Way::Kill)).unwrap(), 2);
    let hasty = Gate::new();
    let error = pool.apply(die_at_first::Task.retries(0), (hasty.path(), 2, Way::Kill)).unwrap_err();
    assert_eq!((error.kind(), hasty.count()), (ErrorKind::WorkerDied, 1));
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

fn neither_a_panic_nor_an_error_is_retried(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let error = pool.apply(die_at_first::Task.retries(5), (calls.path(), 99, Way::Panic)).unwrap_err();
    assert_eq!((error.kind(), calls.count()), (ErrorKind::Panicked, 1));
}
