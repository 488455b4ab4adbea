//! A pool behaves the same wherever its items run.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use pool_core::prelude::*;
use pool_core::{Event, Priority, SharedSlice, SharedVec, current_item};
use serde::{Deserialize, Serialize};
use tests::far::Far;
use tests::gate::{Gate, count, pass};
use tests::procs::eventually;
use tests::tasks::{Way, crash, echo, halve, nap, square};
use tests::trial::{Check, Setup, once};

use super::{pool_over, pools};

pub(super) fn checks() -> Vec<Check> {
    vec![
        once(values_of_all_kinds_come_back),
        once(maps_calls_and_iterators_have_the_same_results),
        once(shared_arrays_travel_as_copies),
        once(names_of_arrays_are_found_again),
        once(items_have_the_same_place_and_seed),
        once(errors_have_the_same_text_and_fields),
        once(a_time_limit_is_counted_where_the_item_runs),
        once(retries_are_those_of_the_caller),
        once(a_bounded_pool_is_full),
        once(a_cancelled_item_ends_there),
        once(an_item_that_ends_in_its_grace_counts),
        once(the_end_of_the_pool_ends_items_there),
        once(states_are_those_of_the_other_pool),
        once(workers_follow_the_capacity),
        once(events_and_insights_tell_of_items),
        once(items_that_take_long_are_given_back_to_others),
        once(many_short_items_travel_together),
    ]
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    scores: BTreeMap<String, Vec<f32>>,
    parent: Option<Box<Record>>,
}

#[pool_task]
fn turn(record: Record, times: u8) -> Result<(Record, u128), String> {
    if times == 0 { Err(format!("{} is not turned", record.name)) } else { Ok((record, u128::MAX >> times)) }
}

#[pool_task]
fn nothing(_nothing: ()) {}

#[pool_task]
fn lengths(text: &str, bytes: &[u8], numbers: &[u32]) -> [usize; 3] {
    [text.len(), bytes.len(), numbers.len()]
}

#[pool_task]
fn sum(part: SharedSlice<u64>) -> u64 {
    part.iter().sum()
}

#[pool_task(codec = "cbor")]
fn sum_two(parts: (SharedSlice<u64>, String, SharedSlice<u8>)) -> u64 {
    parts.0.iter().sum::<u64>() + parts.2.iter().map(|&byte| u64::from(byte)).sum::<u64>()
}

/// A frozen array, one that its receiver may write, and the argument as it is.
type ThreeArrays = (SharedSlice<u64>, SharedVec<u64>, SharedSlice<u64>);

#[pool_task]
fn arrays_of(part: SharedSlice<u64>, items: usize) -> Result<ThreeArrays, String> {
    let mut vec = SharedVec::from_slice(&[7; 3]).map_err(|error| error.to_string())?;
    vec.push(items as u64).map_err(|error| error.to_string())?;
    let frozen = SharedVec::try_from_iter(0..items as u64).and_then(SharedVec::freeze);
    Ok((frozen.map_err(|error| error.to_string())?, vec, part))
}

fn shared_arrays_travel_as_copies(_: &Setup) {
    let (pool, _far) = pools();
    let numbers = SharedVec::try_from_iter(0..10_000u64).unwrap().freeze().unwrap();
    let bytes = SharedVec::from_slice(&[1u8; 100]).unwrap().freeze().unwrap();
    let sums: Vec<u64> = numbers.chunks(100).map(|part| part.iter().sum()).collect();
    assert_eq!(pool.map(sum::Task, numbers.chunks(100)).unwrap(), sums);
    assert_eq!(pool.apply(sum::Task, numbers.slice(..4)).unwrap(), 6);
    assert_eq!(pool.apply(sum_two::Task, (numbers.slice(..4), String::new(), bytes)).unwrap(), 106);
    let results = pool.map_results(arrays_of::Task, (0..20).map(|items| (numbers.slice(5..7), items))).unwrap();
    for (items, result) in results.into_iter().enumerate() {
        let (frozen, mut vec, part) = result.unwrap().unwrap();
        assert_eq!(frozen[..], (0..items as u64).collect::<Vec<_>>());
        // It is this value's alone.
        vec[0] = 8;
        assert_eq!(vec[..], [8, 7, 7, items as u64]);
        assert_eq!(part[..], [5, 6]);
        // Arrays that came back go out again.
        assert_eq!(pool.apply(sum::Task, frozen.clone()).unwrap(), frozen.iter().sum::<u64>());
        assert_eq!(pool.apply(sum::Task, part).unwrap(), 11);
    }
}

fn names_of_arrays_are_found_again(_: &Setup) {
    let (pool, _far) = pools();
    // The link brings a copy for each request, and each is gone after it: workers are told of ends while the next one comes.
    let numbers = SharedVec::from_slice(&[3u64; 1_000]).unwrap().freeze().unwrap();
    for _ in 0..200 {
        let jobs = [3, 2, 1].map(|items| pool.apply_async(sum::Task, numbers.slice(..items)).unwrap());
        assert_eq!(jobs.map(|job| job.get().unwrap()), [9, 6, 3]);
    }
}

#[pool_task(codec = "cbor")]
fn named(record: Record) -> Option<Box<Record>> {
    record.parent
}

fn values_of_all_kinds_come_back(_: &Setup) {
    let (pool, _far) = pools();
    let leaf = Record { name: "größe".into(), scores: [("a".into(), vec![1.5; 3])].into(), parent: None };
    let record = Record { name: "r".into(), scores: BTreeMap::new(), parent: Some(Box::new(leaf.clone())) };
    assert_eq!(pool.apply(turn::Task, (record.clone(), 1)).unwrap(), Ok((record.clone(), u128::MAX >> 1)));
    assert_eq!(pool.apply(turn::Task, (record.clone(), 0)).unwrap(), Err("r is not turned".into()));
    assert_eq!(pool.apply(named::Task, record).unwrap(), Some(Box::new(leaf)));
    assert_eq!(pool.map(nothing::Task, [(); 1000]).unwrap().len(), 1000);
    assert_eq!(pool.apply(lengths::Task, ("abc", &[0; 5], &[7; 9])).unwrap(), [3, 5, 9]);
    for length in [0, 1, 100, 40_000, 3 << 20] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        assert!(pool.apply(echo::Task, bytes.clone()).unwrap() == bytes, "{length}");
        let many = pool.map(echo::Task, [bytes.clone(), vec![1], bytes.clone()]).unwrap();
        assert!(many == [bytes.clone(), vec![1], bytes], "{length}");
    }
}

fn maps_calls_and_iterators_have_the_same_results(_: &Setup) {
    let (pool, _far) = pools();
    let squares: Vec<u64> = (0..20_000).map(|x| x * x).collect();
    assert_eq!(pool.map(square::Task, 0..20_000).unwrap(), squares);
    assert_eq!(pool.map_async(square::Task.chunk_size(7), 0..20_000).unwrap().get().unwrap(), squares);
    let lazy: Vec<u64> = pool.imap(square::Task, 0..20_000).unwrap().map(Result::unwrap).collect();
    assert_eq!(lazy, squares);
    let mut unordered: Vec<u64> = pool.imap_unordered(square::Task, 0..2000).unwrap().map(Result::unwrap).collect();
    unordered.sort_unstable();
    assert_eq!(unordered, squares[..2000]);
    let calls: Vec<_> = (0..500).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    let values: Vec<u64> = calls.into_iter().map(|call| call.get().unwrap()).collect();
    assert_eq!(values, squares[..500]);
    let submitted = futures::executor::block_on(async { pool.submit(square::Task, 12).await?.await });
    assert_eq!(submitted.unwrap(), 144);
    let urgent = square::Task.priority(Priority::High).max_concurrent(1).label("urgent");
    assert_eq!(pool.map(urgent, 0..100).unwrap(), squares[..100]);
    let results = pool.map_results(halve::Task, 0..10).unwrap();
    assert!((0..10).all(|x| results[x].is_ok() == x.is_multiple_of(2)), "{results:?}");
    let detailed: Vec<_> = pool.imap(square::Task, 0..50).unwrap().detailed().collect();
    assert!(detailed.iter().enumerate().all(|(at, done)| done.index == at && done.ran.is_some()), "{detailed:?}");
    assert_eq!(pool.stats().items_pending, 0);
}

#[pool_task]
fn place(_x: u8) -> (u64, u32, u64) {
    let item = current_item().unwrap();
    (item.index, item.attempt, item.seed)
}

fn items_have_the_same_place_and_seed(_: &Setup) {
    let (pool, _far) = pools();
    let local = Pool::new(2).unwrap();
    let task = place::Task.seed(7);
    for _ in 0..2 {
        let places = local.map(task, [0; 3000]).unwrap();
        assert_eq!(pool.map(task, [0; 3000]).unwrap(), places);
        assert_eq!(places[2999].0, 2999);
        assert_eq!(pool.apply(task, 0).unwrap(), local.apply(task, 0).unwrap());
    }
}

/// The text without the numbers of processes and the fractions of times.
fn unnumbered(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

fn errors_have_the_same_text_and_fields(_: &Setup) {
    let (pool, _far) = pools();
    let local = Pool::new(2).unwrap();
    for way in Way::ALL {
        let task = crash::Task.timeout(Duration::from_millis(200));
        let error = |pool: &Pool| pool.map(task, [None, None, Some(way), None]).unwrap_err();
        let (here, there) = (error(&local), error(&pool));
        assert_eq!(unnumbered(&there.to_string()), unnumbered(&here.to_string()), "{way:?}");
        assert!(there.to_string().contains(way.text()), "{there}");
        assert_eq!((there.kind(), there.item(), there.attempts()), (here.kind(), Some(2), 1), "{way:?}");
        assert_eq!((there.exit_status(), there.task()), (here.exit_status(), here.task()), "{way:?}");
        assert_eq!((there.panic_message(), there.location()), (here.panic_message(), here.location()), "{way:?}");
        assert_eq!((there.worker_pid().is_some(), there.ran().is_some()), (true, true), "{there:?}");
        assert!(!pool.worker_pids().contains(&there.worker_pid().unwrap()), "it is that of the other pool");
    }
}

fn a_time_limit_is_counted_where_the_item_runs(_: &Setup) {
    let (pool, _far) = pools();
    // More items than workers: those that wait for one are not late.
    let task = nap::Task.timeout(Duration::from_millis(500)).chunk_size(4);
    let results = pool.map_results(task, [100, 100, 60_000, 100, 100, 100, 100, 100]).unwrap();
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect();
    assert_eq!(kinds.iter().filter(|kind| kind.is_none()).count(), 7, "{results:?}");
    assert_eq!(kinds[2], Some(ErrorKind::TaskTimeout));
}

/// Dies until it has been called so often.
#[pool_task]
fn fragile(path: &str, calls: usize) -> (usize, u32) {
    let count = count(path);
    if count < calls {
        std::process::abort();
    }
    (count, current_item().unwrap().attempt)
}

fn retries_are_those_of_the_caller(_: &Setup) {
    let (pool, _far) = pools();
    let gate = Gate::new();
    assert_eq!(pool.apply(fragile::Task.retries(3), (gate.path(), 3)).unwrap(), (3, 4));
    let gate = Gate::new();
    let error = pool.apply(fragile::Task.retries(1), (gate.path(), 9)).unwrap_err();
    assert_eq!((error.kind(), error.attempts(), gate.count()), (ErrorKind::WorkerDied, 2, 2));
}

fn a_bounded_pool_is_full(_: &Setup) {
    let far = Far::honest(Pool::builder().workers(1));
    let pool = Pool::builder().backend(far).max_pending(2).build().unwrap();
    let gate = Gate::new();
    let held: Vec<_> = (0..2).map(|_| pool.try_apply_async(pass::Task, gate.path()).unwrap()).collect();
    assert_eq!(pool.try_apply_async(pass::Task, gate.path()).unwrap_err().kind(), ErrorKind::Full);
    gate.open();
    held.into_iter().for_each(|call| _ = call.get().unwrap());
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
}

fn a_cancelled_item_ends_there(_: &Setup) {
    let (pool, far) = pools();
    let call = pool.apply_async(nap::Task, 600_000).unwrap();
    let map = pool.map_async(nap::Task.chunk_size(3), [600_000; 9]).unwrap();
    assert!(eventually(|| far.0.pool.lock().unwrap().as_ref().unwrap().running().len() == 2));
    let started = pool.stats().workers_started;
    assert!(call.cancel() && map.cancel());
    assert_eq!(call.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(eventually(|| far.0.is_idle()), "the items go on");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert!(eventually(|| pool.stats().workers_started > started), "the courier is replaced");
    assert_eq!(pool.stats().workers_died, 0, "a courier is no process");
}

#[pool_task]
fn until_cancelled(path: &str) -> u32 {
    count(path);
    while !pool_core::is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    count(path) as u32
}

fn an_item_that_ends_in_its_grace_counts(_: &Setup) {
    let (pool, far) = pools();
    let gate = Gate::new();
    let task = until_cancelled::Task.grace(Duration::from_secs(60));
    assert_eq!(pool.apply(task.timeout(Duration::from_millis(50)), gate.path()).unwrap(), 1);
    // A cancelled one is told there, and ends by itself.
    let call = pool.apply_async(task, gate.path()).unwrap();
    assert!(eventually(|| gate.count() == 3));
    assert!(call.cancel());
    assert!(eventually(|| gate.count() == 4), "it was killed");
    assert!(eventually(|| far.0.is_idle()));
}

fn the_end_of_the_pool_ends_items_there(_: &Setup) {
    for terminates in [true, false] {
        let (pool, far) = pools();
        let map = pool.map_async(nap::Task, [600_000; 5]).unwrap();
        assert!(eventually(|| !far.0.is_idle()));
        if terminates {
            pool.terminate();
            pool.join().unwrap();
        }
        drop(pool);
        assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Terminated);
        assert!(eventually(|| far.0.is_idle()), "the items go on");
    }
}

#[derive(Debug)]
struct Counter(u64);

#[pool_state]
fn counter(from: u64) -> Counter {
    Counter(from)
}

#[pool_task]
fn next(#[state] counter: &mut Counter, step: u64) -> u64 {
    counter.0 += step;
    counter.0
}

fn states_are_those_of_the_other_pool(_: &Setup) {
    let far = Far::honest(Pool::builder().workers(1).state(counter::State, 40));
    let pool = pool_over(far);
    assert_eq!((pool.apply(next::Task, 1).unwrap(), pool.apply(next::Task, 1).unwrap()), (41, 42));
    let (pool, _far) = pools();
    let error = pool.apply(next::Task, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let local = Pool::new(1).unwrap().apply(next::Task, 1).unwrap_err();
    assert_eq!(error.to_string(), local.to_string());
}

fn workers_follow_the_capacity(_: &Setup) {
    let (pool, far) = pools();
    assert_eq!(pool.workers(), 2);
    far.0.capacity.store(5, Ordering::Relaxed);
    assert!(eventually(|| pool.workers() == 5));
    far.0.capacity.store(0, Ordering::Relaxed);
    assert!(eventually(|| pool.workers() == 1));
    assert!(eventually(|| pool.worker_pids().len() == 1));
    assert_eq!(pool.map(square::Task, 0..4).unwrap(), [0, 1, 4, 9]);
    let bounded = Pool::builder().backend(far.clone()).workers(3).build().unwrap();
    far.0.capacity.store(9, Ordering::Relaxed);
    assert!(eventually(|| bounded.workers() == 3 && pool.workers() == 9));
}

fn events_and_insights_tell_of_items(_: &Setup) {
    let (tell, hear) = std::sync::mpsc::channel();
    let far = Far::honest(Pool::builder().workers(2));
    let tell = move |event: &Event| drop(tell.send(format!("{event:?}")));
    let pool = Pool::builder().backend(far).on_event(tell).build().unwrap();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert!(pool.apply(crash::Task, Some(Way::Abort)).is_err());
    let insights = pool.insights();
    assert!(insights.is_remote && !insights.in_process, "{insights}");
    assert!(insights.to_string().starts_with("2 workers on other machines, up "), "{insights}");
    let [crash, square] = ["::crash", "::square"]
        .map(|name| insights.tasks.iter().find(|task| task.task.ends_with(name)).expect("it has run"));
    assert_eq!((square.items, &crash.failures[..]), (100, &[(ErrorKind::WorkerDied, 1)][..]), "{insights}");
    drop(pool);
    let events: Vec<String> = hear.iter().collect();
    for name in ["WorkerStarted", "JobSubmitted", "JobFinished", "ItemFailed", "WorkerExited"] {
        assert!(events.iter().any(|event| event.starts_with(name)), "{name}: {events:?}");
    }
}

fn items_that_take_long_are_given_back_to_others(_: &Setup) {
    let far = Far::honest(Pool::builder().workers(1));
    let pool = pool_over(far.clone());
    // Far more than those that travel together should take: in one request they would take three seconds.
    let values = pool.map(nap::Task.chunk_size(200), [15; 200]).unwrap();
    assert_eq!(values, [15; 200]);
    // The first blocks of a map are small; without giving back there are as many requests as blocks.
    let requests = far.0.requests.load(Ordering::Relaxed);
    assert!(requests >= 10, "{requests} requests");
    assert_eq!(far.0.pool.lock().unwrap().as_ref().unwrap().stats().items_succeeded, 200, "none ran twice");
}

fn many_short_items_travel_together(_: &Setup) {
    let (pool, far) = pools();
    let items = 300_000;
    let sum: u64 = pool.map(square::Task, (0..items).map(|x| x % 10)).unwrap().iter().sum();
    assert_eq!(sum, items / 10 * 285);
    let requests = far.0.requests.load(Ordering::Relaxed) as u64;
    assert!(requests < items / 100, "{requests} requests of {items} items");
}
