//! Items that are told that they should end, and have some grace for that.

use std::time::Instant;

use pool_core::prelude::*;
use pool_core::{is_cancelled, report};
use tests::gate::{Gate, count};
use tests::procs::{SOON, eventually};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_value_within_the_grace_of_a_time_limit_counts),
        each_method(an_item_that_outlives_its_grace_is_killed),
        each_method(a_cancelled_item_has_its_grace_and_the_handle_ends_at_once),
        each_method(a_cancelled_item_that_does_not_end_is_killed_after_its_grace),
        each_method(a_cancelled_map_tells_all_running_items),
        each_method(a_cancelled_call_leaves_its_neighbours_alone).workers(&[1]),
        each_method(without_grace_an_item_is_killed_at_once),
        each_method(termination_knows_no_grace),
        each_method(nothing_is_cancelled_elsewhere),
        each_method(threads_of_a_task_may_ask),
        each_method(a_grace_may_stand_in_the_attribute),
        each_method(an_item_that_waits_to_report_hears_that_it_is_cancelled),
        each_method(a_task_cannot_overwrite_the_order),
    ]
}

const SHORT: Duration = Duration::from_millis(50);

/// Waits until it is to end; the time left until the deadline, and how long it has run.
#[pool_task]
fn until_cancelled() -> (Option<Duration>, Duration) {
    let start = Instant::now();
    while !is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let deadline = current_worker().unwrap().deadline();
    (deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())), start.elapsed())
}

fn a_value_within_the_grace_of_a_time_limit_counts(setup: &Setup) {
    let pool = setup.pool();
    let task = until_cancelled::Task.timeout(SHORT).grace(SOON);
    for (left, ran) in [pool.apply(task, ()).unwrap()].into_iter().chain(pool.map(task.chunk_size(3), [(); 6]).unwrap())
    {
        assert!(ran >= SHORT - Duration::from_millis(5), "{ran:?}");
        // The deadline is the end of limit and grace.
        assert!(left.unwrap() > SOON / 2, "{left:?}");
    }
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.stats().workers_died, 0);
}

#[pool_task]
fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn an_item_that_outlives_its_grace_is_killed(setup: &Setup) {
    let pool = setup.pool();
    let start = Instant::now();
    let error = pool.apply(hang::Task.timeout(SHORT).grace(2 * SHORT), ()).unwrap_err();
    assert!(start.elapsed() >= 3 * SHORT);
    assert_eq!(error.kind(), ErrorKind::TaskTimeout);
    assert!(error.to_string().contains("exceeded its limit of 50 ms and its grace of 100 ms after "), "{error}");
}

/// Waits until it is cancelled, and says so.
#[pool_task]
fn note_cancelled(begun: &str, note: &str) {
    count(begun);
    while !is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    count(note);
}

fn a_cancelled_item_has_its_grace_and_the_handle_ends_at_once(setup: &Setup) {
    let pool = setup.pool();
    pool.wait_ready().unwrap();
    let (begun, note) = (Gate::new(), Gate::new());
    let job = pool.apply_async(note_cancelled::Task.grace(SOON), (begun.path(), note.path())).unwrap();
    begun.wait();
    assert!(job.cancel());
    assert!(job.ready());
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    note.wait();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert_eq!(pool.stats().workers_died, 0);
}

/// Says that it has begun, and goes on for ever.
#[pool_task]
fn note_and_hang(begun: &str) {
    count(begun);
    hang();
}

fn a_cancelled_item_that_does_not_end_is_killed_after_its_grace(setup: &Setup) {
    let pool = setup.pool();
    let begun = Gate::new();
    let job = pool.apply_async(note_and_hang::Task.grace(2 * SHORT), begun.path()).unwrap();
    begun.wait();
    let start = Instant::now();
    assert!(job.cancel());
    assert!(eventually(|| pool.stats().workers_died > 0));
    assert!(start.elapsed() >= 2 * SHORT);
}

fn a_cancelled_map_tells_all_running_items(setup: &Setup) {
    let pool = setup.pool();
    let (begun, note) = (Gate::new(), Gate::new());
    let task = note_cancelled::Task.grace(SOON).chunk_size(1);
    let job = pool.map_async(task, [(begun.path(), note.path()); 40]).unwrap();
    assert!(eventually(|| begun.count() == setup.workers));
    assert!(job.cancel());
    assert!(eventually(|| note.count() == setup.workers));
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert_eq!(note.count(), begun.count());
}

fn a_cancelled_call_leaves_its_neighbours_alone(setup: &Setup) {
    let pool = setup.pool();
    let (begun, note) = (Gate::new(), Gate::new());
    let task = note_cancelled::Task.grace(SOON);
    let calls: Vec<_> = (0..3).map(|_| pool.apply_async(task, (begun.path(), note.path())).unwrap()).collect();
    for done in 1..=3 {
        assert!(eventually(|| begun.count() == done));
        assert_eq!(note.count(), done - 1, "the others go on");
        assert!(calls[done - 1].cancel());
        assert!(eventually(|| note.count() == done));
    }
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.stats().workers_died, 0);
}

fn without_grace_an_item_is_killed_at_once(setup: &Setup) {
    let pool = setup.pool();
    let (begun, note) = (Gate::new(), Gate::new());
    let job = pool.apply_async(note_cancelled::Task, (begun.path(), note.path())).unwrap();
    begun.wait();
    assert!(job.cancel());
    // Replaced; one that is no process has not died.
    assert!(eventually(|| pool.stats().workers_started > setup.workers as u64));
    assert_eq!(note.count(), 0);
}

fn termination_knows_no_grace(setup: &Setup) {
    let pool = setup.pool();
    let begun = Gate::new();
    let job = pool.apply_async(note_and_hang::Task.grace(Duration::from_secs(3600)), begun.path()).unwrap();
    begun.wait();
    pool.terminate();
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
    pool.join_timeout(SOON).unwrap();
}

#[pool_task]
fn ask() -> bool {
    is_cancelled()
}

fn nothing_is_cancelled_elsewhere(setup: &Setup) {
    assert!(!is_cancelled());
    let pool = setup.pool();
    assert!(!pool.apply(ask::Task, ()).unwrap());
    let (begun, note) = (Gate::new(), Gate::new());
    let job = pool.apply_async(note_cancelled::Task.grace(SOON), (begun.path(), note.path())).unwrap();
    begun.wait();
    job.cancel();
    note.wait();
    // The orders of an earlier request mean nothing to later ones.
    assert_eq!(pool.map(ask::Task.timeout(SOON), [(); 100]).unwrap(), [false; 100]);
    assert_eq!(pool.map(ask::Task, [(); 100]).unwrap(), [false; 100]);
}

#[pool_task]
fn ask_in_thread() {
    std::thread::spawn(|| {
        while !is_cancelled() {
            std::thread::yield_now();
        }
    })
    .join()
    .unwrap();
}

fn threads_of_a_task_may_ask(setup: &Setup) {
    setup.pool().apply(ask_in_thread::Task.timeout(SHORT).grace(SOON), ()).unwrap();
}

#[pool_task(timeout = "50ms", grace = "1h")]
fn patient() -> bool {
    until_cancelled();
    true
}

fn a_grace_may_stand_in_the_attribute(setup: &Setup) {
    assert!(setup.pool().apply(patient::Task, ()).unwrap());
}

#[pool_task(reports)]
fn report_to_the_end(note: &str) {
    let blob = vec![7u8; 1 << 10];
    while report(&blob) {}
    assert!(is_cancelled());
    count(note);
}

fn an_item_that_waits_to_report_hears_that_it_is_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let note = Gate::new();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let job = pool.apply_async(report_to_the_end::Task.grace(SOON), note.path()).unwrap();
    let job = job.on_report(move |_: pool_core::Report<Vec<u8>>| _ = gate.recv());
    // By then it waits for its listener.
    std::thread::sleep(Duration::from_millis(300));
    assert!(job.cancel());
    note.wait();
    drop(open);
}

/// Overwrites all memory that a worker can write, as far as it finds it, and asks.
#[pool_task]
fn overwrite_and_ask() -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let requests = maps.lines().filter(|line| line.contains("pool-requests"));
    let writable = requests.filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('w'))).count();
    assert_eq!(writable, 0, "{maps}");
    is_cancelled()
}

fn a_task_cannot_overwrite_the_order(setup: &Setup) {
    assert!(!setup.pool().apply(overwrite_and_ask::Task, ()).unwrap());
}
