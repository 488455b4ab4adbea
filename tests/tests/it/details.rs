//! Results with their details: items, workers, attempts and times, of whatever comes of an item.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ::futures::stream::{FusedStream, StreamExt};
use pool_core::prelude::*;
use pool_core::{Completed, Worker, current_worker};
use tests::gate::{Gate, count, pass};
use tests::panics::silently;
use tests::procs::{SOON, eventually};
use tests::tasks::{Way, crash, echo, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_item_tells_where_and_how_long_it_ran),
        each_method(values_of_all_shapes_arrive_with_their_details),
        each_method(failures_have_details_too),
        each_method(attempts_are_counted),
        once(an_item_over_its_limit_ran_for_that_long),
        once(items_that_did_not_run_have_no_worker),
        once(details_can_be_asked_for_late),
        once(a_wait_that_runs_out_is_no_item),
        once(streams_have_details),
    ]
}

#[pool_task]
fn whereabouts(ms: u64) -> (usize, u32, u32) {
    std::thread::sleep(Duration::from_millis(ms));
    let worker = current_worker().unwrap();
    (worker.id(), worker.incarnation(), worker.pid())
}

fn identity(worker: Worker) -> (usize, u32, u32) {
    (worker.id(), worker.incarnation(), worker.pid())
}

#[track_caller]
fn check_times<R>(done: &Completed<R>, least: Duration, most: Duration) {
    let (waited, ran) = (done.waited.expect("it was noted"), done.ran.expect("it was noted"));
    assert!(ran >= least && waited + ran <= most, "{} waited {waited:?} and ran {ran:?}", done.index);
}

fn each_item_tells_where_and_how_long_it_ran(setup: &Setup) {
    let pool = setup.pool();
    let start = Instant::now();
    for chunk_size in [1, 7] {
        let task = whereabouts::Task.chunk_size(chunk_size);
        let ordered: Vec<_> = pool.imap(task, (0..40).map(|x| x % 4)).unwrap().detailed().collect();
        assert!(ordered.iter().map(|done| done.index).eq(0..40));
        let unordered: Vec<_> = pool.imap_unordered(task, (0..40).map(|x| x % 4)).unwrap().detailed().collect();
        assert_eq!(unordered.iter().map(|done| done.index).collect::<BTreeSet<_>>().len(), 40);
        for done in ordered.into_iter().chain(unordered) {
            check_times(&done, Duration::from_millis(done.index as u64 % 4), start.elapsed());
            assert_eq!(done.attempts, 1);
            assert_eq!(identity(done.worker.unwrap()), done.result.unwrap());
        }
    }
    // Short items are timed, too, and wait for the items before them.
    let dones: Vec<_> = pool.imap(square::Task, 0..5000).unwrap().detailed().collect();
    for (x, done) in (0..).zip(&dones) {
        assert_eq!(*done.result.as_ref().unwrap(), x * x);
        check_times(done, Duration::from_nanos(1), start.elapsed());
    }
    assert_eq!(dones.len(), 5000);
}

#[pool_task]
fn nothing(_: u8) {}

#[pool_task]
fn texts(count: usize) -> Vec<String> {
    vec!["text".to_owned(); count]
}

fn values_of_all_shapes_arrive_with_their_details(setup: &Setup) {
    let pool = setup.pool();
    for done in pool.imap(nothing::Task, [0; 100]).unwrap().detailed() {
        check_times(&done, Duration::ZERO, SOON);
        done.result.unwrap();
    }
    let bytes = |length: usize| (0..length).map(|x| x as u8).collect::<Vec<_>>();
    let lengths = [0, 1, 15, 16, 17, 1000, 40_000, 3 << 20];
    for done in pool.imap(echo::Task, lengths.map(bytes)).unwrap().detailed() {
        check_times(&done, Duration::ZERO, SOON);
        assert!(done.result.unwrap() == bytes(lengths[done.index]), "{} bytes", lengths[done.index]);
    }
    for done in pool.imap(texts::Task, [0, 1, 20_000]).unwrap().detailed() {
        assert_eq!(done.result.unwrap().len(), [0, 1, 20_000][done.index]);
        assert!(done.worker.is_some() && done.ran.is_some());
    }
}

fn failures_have_details_too(setup: &Setup) {
    silently(|| {
        let pool = setup.pool();
        let ways = Way::ALL.into_iter().filter(|way| *way != Way::Hang);
        for way in ways {
            let items = [None, Some(way), None];
            let dones: Vec<_> = pool.imap(crash::Task.chunk_size(3), items).unwrap().detailed().collect();
            assert_eq!(
                dones.iter().map(|done| done.result.is_ok()).collect::<Vec<_>>(),
                [true, false, true],
                "{way:?}"
            );
            let error = dones[1].result.as_ref().unwrap_err();
            assert_eq!(Some(dones[1].worker.unwrap().pid()), error.worker_pid(), "{way:?}");
            assert_eq!((dones[1].index, dones[1].attempts), (1, 1), "{way:?}");
            for done in &dones {
                check_times(done, Duration::ZERO, SOON);
            }
            if way != Way::Panic {
                let next = dones[2].worker.unwrap();
                assert!(next.id() != dones[1].worker.unwrap().id() || next.pid() != dones[1].worker.unwrap().pid());
            }
        }
    });
}

/// Dies twice.
#[pool_task]
fn third_time(gate: &str) -> usize {
    let before = count(gate);
    if before < 2 {
        Way::Kill.go();
    }
    before
}

#[pool_task]
fn panics(gate: &str) {
    count(gate);
    panic!("on purpose");
}

fn attempts_are_counted(setup: &Setup) {
    silently(|| {
        let pool = setup.pool();
        let gate = Gate::new();
        let mut dones = pool.imap(third_time::Task.retries(5), [gate.path()]).unwrap().detailed();
        let done = dones.next().unwrap();
        assert_eq!((done.attempts, done.result.as_ref().ok()), (3, Some(&2)));
        // The pauses before the attempts count: 10 ms and 20.
        assert!(done.waited.unwrap() >= Duration::from_millis(30), "{:?}", done.waited);
        assert!(done.worker.unwrap().incarnation() > 0 || setup.workers > 1);
        let gate = Gate::new();
        let task = panics::Task.retries(2).retry_panics();
        let done = pool.imap(task, [gate.path()]).unwrap().detailed().next().unwrap();
        assert_eq!((done.attempts, done.result.unwrap_err().attempts(), gate.count()), (3, 3, 3));
    });
}

fn an_item_over_its_limit_ran_for_that_long(setup: &Setup) {
    let pool = setup.pool();
    let task = nap::Task.timeout(Duration::from_millis(50));
    let dones: Vec<_> = pool.imap(task, [0, 600_000, 0]).unwrap().detailed().collect();
    assert_eq!(dones[1].result.as_ref().unwrap_err().kind(), ErrorKind::TaskTimeout);
    check_times(&dones[1], Duration::from_millis(50), SOON);
    assert!(dones[0].result.is_ok() && dones[2].result.is_ok());
}

fn items_that_did_not_run_have_no_worker(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let gate = Gate::new();
    let mut dones = pool.imap(pass::Task.chunk_size(1), [gate.path(); 20]).unwrap().detailed();
    // A wait pulls as much as its limit allows, which on a busy machine is little.
    assert!(eventually(|| {
        assert_eq!(dones.next_timeout(Duration::from_millis(1)).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        pool.stats().items_pending == 20
    }));
    pool.terminate();
    let dones: Vec<_> = dones.collect();
    assert!(dones.iter().map(|done| done.index).eq(0..20));
    for done in dones {
        assert_eq!(done.result.unwrap_err().kind(), ErrorKind::Terminated);
        assert_eq!((done.worker, done.attempts, done.waited, done.ran), (None, 0, None, None));
    }
}

fn details_can_be_asked_for_late(setup: &Setup) {
    let pool = setup.pool();
    let mut ordered = pool.imap(square::Task.chunk_size(10), 0..100).unwrap();
    for x in 0..25 {
        assert_eq!(ordered.next().unwrap().unwrap(), x * x);
    }
    for (x, done) in (25..).zip(ordered.detailed()) {
        assert_eq!((done.index, done.result.unwrap()), (x as usize, x * x));
    }
    let mut unordered = pool.imap_unordered(square::Task.chunk_size(10), 0..100).unwrap();
    let mut seen: BTreeSet<_> = unordered.by_ref().take(25).map(Result::unwrap).collect();
    for done in unordered.detailed() {
        let value = done.result.unwrap();
        assert_eq!((done.index * done.index) as u64, value);
        assert!(seen.insert(value));
    }
    assert_eq!(seen.len(), 100);
}

fn a_wait_that_runs_out_is_no_item(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut dones = pool.imap(pass::Task, std::iter::repeat(gate.path())).unwrap().detailed();
    for _ in 0..3 {
        assert_eq!(dones.next_timeout(Duration::from_millis(2)).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    }
    dones.stop_input();
    gate.open();
    let first = dones.next_timeout(SOON).unwrap().unwrap();
    assert_eq!((first.index, first.result.is_ok()), (0, true));
    let rest = dones.by_ref().map(|done| done.index).collect::<Vec<_>>();
    assert!(rest.iter().copied().eq(1..rest.len() + 1), "{rest:?}");
    assert!(dones.next().is_none() && dones.next_timeout(SOON).is_none());
}

fn streams_have_details(setup: &Setup) {
    let pool = setup.pool();
    ::futures::executor::block_on(async {
        let mut ordered = pool.imap(nap::Task, [20, 0, 1]).unwrap().detailed().into_stream();
        for index in 0..3 {
            let done = ordered.next().await.unwrap();
            assert_eq!((done.index, done.result.is_ok(), done.attempts), (index, true, 1));
            assert!(done.worker.is_some());
        }
        assert!(ordered.next().await.is_none() && ordered.is_terminated());
        let mut endless = pool.imap_unordered(square::Task, 0..).unwrap().detailed().into_stream();
        let first = endless.next().await.unwrap();
        assert!(first.result.is_ok());
        endless.stop_input();
        let mut indices: BTreeSet<_> = endless.map(|done| done.index).collect().await;
        assert!(indices.insert(first.index));
        assert_eq!(indices.len(), indices.last().unwrap() + 1, "each once, and none is missing");
    });
}
