//! Arrays in shared memory as arguments and results: those that arrive, that are forgotten, that are refused.

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, mpsc};

use pool_core::prelude::*;
use pool_core::{SharedSlice, SharedVec, report};
use serde::{Deserialize, Serialize};
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, crash, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(parts_of_an_array_are_summed),
        each_method(arrays_travel_within_values),
        each_method(arrays_that_describe_themselves_travel),
        each_method(results_are_the_hosts_own),
        each_method(parts_of_arguments_come_back_as_they_are),
        each_method(a_vector_is_copied_as_an_argument),
        each_method(many_arrays_travel_at_once),
        each_method(workers_forget_arrays_that_are_gone),
        each_method(workers_made_later_see_the_array),
        each_method(an_initializer_takes_arrays),
        each_method(arrays_pass_through_a_nested_pool),
        each_method(arrays_survive_deaths_and_cancellation),
        each_method(a_result_is_seen_before_it_is_taken),
        once(too_many_arrays_are_refused),
        once(a_worker_without_descriptors_says_so),
        once(a_host_without_descriptors_says_so),
        once(a_vector_that_the_worker_keeps_is_refused),
        once(mapped_files_travel_to_workers_only),
        each_method(a_report_names_no_array),
    ]
}

pub(crate) fn numbers(len: usize) -> SharedSlice<f64> {
    SharedVec::try_from_iter((0..len).map(|x| x as f64)).unwrap().freeze().unwrap()
}

#[pool_task]
pub(crate) fn sum(part: SharedSlice<f64>) -> f64 {
    part.iter().sum()
}

/// Mappings and descriptors of arrays in the worker.
#[pool_task]
fn traces(_any: u64) -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let is_array = |text: &str| text.contains("memfd:pool-array");
    (
        maps.lines().filter(|line| is_array(line)).count(),
        links.filter(|link| is_array(&link.display().to_string())).count(),
    )
}

fn parts_of_an_array_are_summed(setup: &Setup) {
    let data = numbers(100_000);
    let pool = setup.pool();
    for elements in [1_000, 7_777, 100_000] {
        let sums = pool.map(sum::Task, data.chunks(elements)).unwrap();
        assert_eq!(sums, data.chunks(elements).map(|part| part.iter().sum()).collect::<Vec<f64>>());
    }
    for part in [data.slice(5..5), data.slice(99_999..), data.clone()] {
        assert_eq!(pool.apply(sum::Task, part.clone()).unwrap(), part.iter().sum::<f64>());
    }
    let empty = SharedVec::<f64>::zeroed(0).unwrap().freeze().unwrap();
    assert_eq!(pool.apply(sum::Task, empty).unwrap(), 0.0);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Points(SharedSlice<[i32; 2]>),
    Both { left: SharedSlice<u8>, right: Option<SharedSlice<u8>> },
}

/// A tuple struct with a gap, as which values are written again to be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Numbered(u8, SharedSlice<u16>, u8);

#[pool_task]
fn reshape(
    shapes: Vec<Shape>,
    named: HashMap<String, SharedSlice<u64>>,
    numbered: &Numbered,
) -> (Vec<Shape>, u64, Numbered) {
    (shapes, named.values().flat_map(|part| part.iter()).sum(), numbered.clone())
}

fn arrays_travel_within_values(setup: &Setup) {
    let pool = setup.pool();
    let bytes = SharedVec::from_slice(b"some bytes").unwrap().freeze().unwrap();
    let points = SharedVec::from_slice(&[[1, 2], [3, 4]]).unwrap().freeze().unwrap();
    let shapes = vec![
        Shape::Points(points.slice(1..)),
        Shape::Nothing,
        Shape::Both { left: bytes.slice(..4), right: Some(bytes.slice(5..)) },
        Shape::Both { left: bytes, right: None },
    ];
    let words = SharedVec::from_slice(&[1_u64, 10, 100]).unwrap().freeze().unwrap();
    let named: HashMap<_, _> =
        [("a", words.slice(..2)), ("b", words)].map(|(name, part)| (name.to_owned(), part)).into();
    for round in 0..20 {
        let numbered = Numbered(round, SharedVec::from_slice(&[7, u16::from(round)]).unwrap().freeze().unwrap(), 1);
        let result = pool.apply(reshape::Task, (shapes.clone(), named.clone(), &numbered)).unwrap();
        assert_eq!(result, (shapes.clone(), 122, numbered));
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Word(String),
    Array(SharedSlice<f64>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    part: SharedSlice<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Outer {
    name: String,
    #[serde(flatten)]
    inner: Inner,
    any: Vec<Any>,
}

#[pool_task(codec = "cbor")]
fn described(outer: Outer) -> Outer {
    outer
}

fn arrays_that_describe_themselves_travel(setup: &Setup) {
    let data = numbers(10);
    let any = vec![Any::Word("one".into()), Any::Array(data.slice(2..4))];
    let outer = Outer { name: "x".into(), inner: Inner { part: data.slice(1..) }, any };
    let pool = setup.pool();
    assert_eq!(pool.map(described::Task, vec![outer.clone(); 5]).unwrap(), vec![outer; 5]);
}

#[pool_task]
fn count_up(len: usize) -> SharedVec<u64> {
    SharedVec::try_from_iter(0..len as u64).unwrap()
}

#[pool_task]
fn squares(part: SharedSlice<u64>) -> Result<SharedSlice<u64>, String> {
    let squares = SharedVec::try_from_iter(part.iter().map(|x| x.wrapping_mul(*x))).and_then(SharedVec::freeze);
    squares.map_err(|error| error.to_string())
}

fn results_are_the_hosts_own(setup: &Setup) {
    let pool = setup.pool();
    let mut own = pool.apply(count_up::Task, 100_000).unwrap();
    assert!(own.iter().copied().eq(0..100_000));
    own[0] = 7;
    own.push(100_000).unwrap();
    assert_eq!((own[0], own.len()), (7, 100_001));
    let own = own.freeze().unwrap();
    let squared: Vec<_> = pool.map(squares::Task, own.chunks(9_999)).unwrap().into_iter().map(Result::unwrap).collect();
    assert!(squared.iter().flat_map(|part| part.iter().copied()).eq(own.iter().map(|x| x * x)));
    // A worker's array goes to workers like the host's.
    for part in squared {
        let expected: Vec<u64> = part.iter().map(|x| x.wrapping_mul(*x)).collect();
        assert_eq!(*pool.apply(squares::Task, part).unwrap().unwrap(), *expected);
    }
    let lens: Vec<_> = pool.imap_unordered(count_up::Task, 0..50).unwrap().map(|vec| vec.unwrap().len()).collect();
    assert_eq!(lens.len(), 50);
}

#[pool_task]
fn half(part: SharedSlice<f64>) -> SharedSlice<f64> {
    part.slice(..part.len() / 2)
}

fn parts_of_arguments_come_back_as_they_are(setup: &Setup) {
    let pool = setup.pool();
    let data = numbers(1000);
    for result in pool.map(half::Task, data.chunks(100)).unwrap() {
        assert_eq!(result.len(), 50);
        assert!(data.as_ptr_range().contains(&result.as_ptr()), "it is the same memory");
    }
}

#[pool_task]
fn doubled(mut vec: SharedVec<u32>) -> SharedVec<u32> {
    vec.iter_mut().for_each(|x| *x *= 2);
    vec
}

fn a_vector_is_copied_as_an_argument(setup: &Setup) {
    let pool = setup.pool();
    let vec = || SharedVec::from_slice(&[1, 2, 3]).unwrap();
    assert_eq!(*pool.apply(doubled::Task, vec()).unwrap(), [2, 4, 6]);
    let all = pool.map(doubled::Task, (0..20).map(|_| vec())).unwrap();
    assert!(all.iter().all(|vec| **vec == [2, 4, 6]));
}

#[pool_task]
fn total(parts: Vec<SharedSlice<u32>>) -> (u32, Vec<SharedSlice<u32>>) {
    let firsts = parts.iter().map(|part| SharedVec::from_slice(&part[..1]).unwrap().freeze().unwrap());
    (parts.iter().map(|part| part[0]).sum(), firsts.collect())
}

fn one(x: u32) -> SharedSlice<u32> {
    SharedVec::from_slice(&[x]).unwrap().freeze().unwrap()
}

fn many_arrays_travel_at_once(setup: &Setup) {
    let pool = setup.pool();
    let expected = |parts: &[SharedSlice<u32>]| parts.iter().map(|part| part[0]).sum::<u32>();
    let parts: Vec<_> = (0..200).map(one).collect();
    let (sum, back) = pool.apply(total::Task, parts.clone()).unwrap();
    assert_eq!((sum, &back), (expected(&parts), &parts));
    // Each item has arrays of its own.
    let items: Vec<Vec<_>> = (0..100).map(|item| (item..item + 3).map(one).collect()).collect();
    for (item, (sum, back)) in items.iter().zip(pool.map(total::Task, items.clone()).unwrap()) {
        assert_eq!((sum, &back), (expected(item), item));
    }
}

fn workers_forget_arrays_that_are_gone(setup: &Setup) {
    // A copy of the host has its memory, too, so there is none yet.
    let pool = setup.pool();
    for round in 0..3 {
        let data = numbers(1000 + round);
        let kept = data.slice(10..20);
        pool.map(sum::Task, data.chunks(10)).unwrap();
        drop(data);
        assert_eq!(pool.apply(sum::Task, kept.clone()).unwrap(), kept.iter().sum::<f64>());
        drop(kept);
        let is_forgotten = || pool.map(traces::Task, 0..20).unwrap().iter().all(|found| *found == (0, 0));
        assert!(eventually(is_forgotten), "round {round}: {:?}", pool.map(traces::Task, 0..20));
    }
}

fn workers_made_later_see_the_array(setup: &Setup) {
    let pool = setup.pool();
    let data = numbers(10_000);
    let expected: Vec<f64> = data.chunks(100).map(|part| part.iter().sum()).collect();
    for round in 1..4 {
        assert_eq!(pool.map(sum::Task, data.chunks(100)).unwrap(), expected);
        kill_9(pool.worker_pids()[0]);
        pool.resize(setup.workers + round).unwrap();
    }
    assert_eq!(pool.map(sum::Task, data.chunks(100)).unwrap(), expected);
}

static TABLE: Mutex<Option<SharedSlice<u64>>> = Mutex::new(None);

#[pool_task]
fn set_table(table: SharedSlice<u64>) {
    *TABLE.lock().unwrap() = Some(table);
}

#[pool_task]
fn look_up(at: usize) -> u64 {
    TABLE.lock().unwrap().as_ref().unwrap()[at]
}

#[pool_task]
fn whole_table() -> SharedSlice<u64> {
    TABLE.lock().unwrap().clone().unwrap()
}

fn an_initializer_takes_arrays(setup: &Setup) {
    let table = SharedVec::try_from_iter(100..200).unwrap().freeze().unwrap();
    let pool = setup.builder().initializer(set_table::Task, table).build().unwrap();
    assert_eq!(pool.map(look_up::Task, 0..100).unwrap(), (100..200).collect::<Vec<_>>());
    kill_9(pool.worker_pids()[0]);
    assert_eq!(pool.map(look_up::Task, 0..100).unwrap(), (100..200).collect::<Vec<_>>());
    assert!(pool.apply(whole_table::Task, ()).unwrap().iter().copied().eq(100..200));
}

#[pool_task]
fn sum_in_a_pool(part: SharedSlice<f64>) -> (f64, SharedSlice<f64>) {
    let pool = Pool::new(1).unwrap();
    let half = pool.apply(half::Task, part.clone()).unwrap();
    (pool.map(sum::Task, part.chunks(10)).unwrap().into_iter().sum(), half)
}

fn arrays_pass_through_a_nested_pool(setup: &Setup) {
    let data = numbers(100);
    let (sum, half) = setup.pool().apply(sum_in_a_pool::Task, data.clone()).unwrap();
    assert_eq!((sum, half), (4950.0, data.slice(..50)));
}

#[pool_task]
fn sum_or_die(part: SharedSlice<f64>, dies: bool) -> SharedVec<f64> {
    if dies {
        std::process::abort();
    }
    SharedVec::from_slice(&part).unwrap()
}

fn arrays_survive_deaths_and_cancellation(setup: &Setup) {
    let pool = setup.pool();
    let data = numbers(1000);
    let items = || data.chunks(10).enumerate().map(|(at, part)| (part, at % 10 == 9));
    let results = pool.map_results(sum_or_die::Task, items()).unwrap();
    for (at, result) in results.iter().enumerate() {
        match result {
            Ok(copy) => assert_eq!(**copy, data[at * 10..][..10]),
            Err(error) => assert_eq!((error.kind(), error.item()), (ErrorKind::WorkerDied, Some(at))),
        }
        assert_eq!(result.is_err(), at % 10 == 9);
    }
    for _ in 0..20 {
        let job = pool.map_async(sum_or_die::Task, items().filter(|(_, dies)| !dies)).unwrap();
        job.cancel();
        drop(pool.imap(sum_or_die::Task, items()).unwrap().next());
    }
    let _ = pool.apply(crash::Task, Some(Way::Abort));
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

fn a_result_is_seen_before_it_is_taken(setup: &Setup) {
    let pool = setup.pool();
    let job = pool.apply_async(count_up::Task, 1000).unwrap();
    job.wait();
    assert!(job.successful().unwrap() && job.successful().unwrap());
    let mut vec = job.get().unwrap();
    vec[0] = 1;
    assert_eq!(vec.iter().sum::<u64>(), 499_501);
}

fn too_many_arrays_are_refused(setup: &Setup) {
    let pool = setup.pool();
    // The host has fewer descriptors than that, but one array may be named often.
    let data = one(1);
    assert_eq!(pool.apply(total::Task, vec![data.clone(); 900]).unwrap().0, 900);
    let parts = (0..1025).map(|x| SharedVec::from_slice(&[x]));
    let Ok(parts) = parts.collect::<pool_core::Result<Vec<_>>>() else { return };
    let parts: Vec<_> = parts.into_iter().map(|vec| vec.freeze().unwrap()).collect();
    let error = pool.apply(total::Task, parts).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("more than 1024 arrays"), "{error}");
}

#[pool_task]
fn limit_descriptors(soft: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    before
}

fn a_worker_without_descriptors_says_so(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let before = pool.apply(limit_descriptors::Task, 3).unwrap();
    let data = numbers(10);
    let error = pool.apply(sum::Task, data.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(error.to_string().contains("Too many open files"), "{error}");
    pool.apply(limit_descriptors::Task, before).unwrap();
    assert_eq!(pool.apply(sum::Task, numbers(10)).unwrap(), 45.0);
}

fn a_host_without_descriptors_says_so(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    assert_eq!(pool.apply(count_up::Task, 3).unwrap().len(), 3);
    let before = limit_descriptors(3);
    let error = pool.apply(count_up::Task, 3).unwrap_err();
    let made = SharedVec::<u8>::zeroed(1).unwrap_err();
    limit_descriptors(before);
    assert_eq!((error.kind(), made.kind()), (ErrorKind::System, ErrorKind::System));
    assert!(error.to_string().contains("Too many open files"), "{error}");
    assert_eq!(pool.apply(count_up::Task, 3).unwrap().len(), 3);
}

/// A vector that is written while a lock is held, and stays where it is.
#[derive(Serialize, Deserialize)]
struct Kept(#[serde(serialize_with = "write_kept")] SharedVec<u8>);

static KEPT: Mutex<Option<SharedVec<u8>>> = Mutex::new(None);

fn write_kept<S: serde::Serializer>(_: &SharedVec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut kept = KEPT.lock().unwrap();
    kept.get_or_insert_with(|| SharedVec::zeroed(10).unwrap()).serialize(serializer)
}

#[pool_task]
fn keep() -> Kept {
    Kept(SharedVec::zeroed(1).unwrap())
}

fn a_vector_that_the_worker_keeps_is_refused(setup: &Setup) {
    let pool = setup.pool();
    let Err(error) = pool.apply(keep::Task, ()) else { panic!("the worker could write it") };
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("return it itself, or freeze it"), "{error}");
}

fn mapped_files_travel_to_workers_only(setup: &Setup) {
    let path = std::env::temp_dir().join(format!("pool-mapped-{}", std::process::id()));
    fs::write(&path, [1, 0, 2, 0, 3, 0]).unwrap();
    // SAFETY: nobody writes this file.
    let mapped = unsafe { SharedSlice::<u16>::map_file(&path) }.unwrap();
    fs::remove_file(&path).unwrap();
    let pool = setup.pool();
    let numbered = Numbered(1, mapped, 2);
    let error = pool.apply(reshape::Task, (Vec::new(), HashMap::new(), &numbered)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("a mapped file cannot be a result"), "{error}");
    let lens = pool.map(file_sum::Task, vec![numbered.1; 3]).unwrap();
    assert_eq!(lens, [6; 3]);
}

#[pool_task]
fn file_sum(part: SharedSlice<u16>) -> u16 {
    part.iter().sum()
}

#[pool_task(reports)]
fn report_array(part: SharedSlice<f64>) -> bool {
    report(&part)
}

fn a_report_names_no_array(setup: &Setup) {
    let pool = setup.pool();
    let (sender, heard) = mpsc::channel();
    let job = pool.apply_async(report_array::Task, numbers(10)).unwrap();
    let job = job.on_report(move |report: pool_core::Report<SharedSlice<f64>>| sender.send(report.value).unwrap());
    job.get().unwrap();
    let error = heard.recv().unwrap().unwrap_err();
    assert!(error.to_string().contains("a report cannot name a shared array"), "{error}");
}
