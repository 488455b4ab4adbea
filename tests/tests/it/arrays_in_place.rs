//! Arrays that workers write in place: each part once, and none after the call has returned.
//!
//! That nobody writes any more is seen by freezing the array, after which no process has its memory mapped for writing.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::Duration;

use pool_core::prelude::*;
use pool_core::{ChunkTask, Priority, SharedSlice, SharedVec, is_cancelled};
use tests::gate::{Gate, count};
use tests::panics::silently;
use tests::procs::{descendants, eventually, kill_9};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_part_is_written_once),
        each_method(arguments_and_results_travel),
        each_method(a_worker_maps_its_parts_alone),
        each_method(other_tasks_find_no_part_mapped),
        each_method(an_array_is_lent_again),
        each_method(an_array_is_frozen_while_its_writer_is_busy),
        each_method(a_death_is_the_error_of_its_part),
        each_method(a_panic_is_the_error_of_its_part),
        each_method(a_limit_ends_the_writer_first),
        each_method(a_part_has_its_grace),
        each_method(termination_waits_for_writers),
        each_method(cancelled_parts_are_not_written),
        each_method(killed_workers_leave_no_writer),
        once(input_out_of_range_is_refused),
        once(a_pool_that_breaks_leaves_no_writer),
        once(a_part_without_a_descriptor_is_an_error),
        once(arrays_are_written_in_a_nested_pool),
    ]
}

#[pool_task]
fn number(part: &mut [u32], offset: usize) -> usize {
    (offset..).zip(&mut *part).for_each(|(at, x)| *x += at as u32);
    part.len()
}

#[track_caller]
fn check_unused(array: SharedVec<u32>) -> SharedSlice<u32> {
    let array = array.freeze().unwrap();
    for process in descendants() {
        let maps = fs::read_to_string(format!("/proc/{}/maps", process.pid)).unwrap_or_default();
        let is_written = |line: &&str| line.contains("rw-s") && line.contains("memfd:pool-array");
        assert_eq!(maps.lines().find(is_written), None, "process {} can still write", process.pid);
    }
    array
}

fn each_part_is_written_once(setup: &Setup) {
    let pool = setup.pool();
    for (len, chunk) in
        [(0, 1), (1, 1), (10_000, 999), (3_000, 1), (100_000, 40_000), (5, usize::MAX), (1_400_003, 90_001)]
    {
        let mut array = SharedVec::zeroed(len).unwrap();
        for round in 1..3 {
            let results = pool.map_chunks_mut(number::Task, &mut array, chunk, ()).unwrap();
            let lens: Vec<_> = results.into_iter().map(Result::unwrap).collect();
            assert_eq!(lens, array.chunks(chunk).map(<[_]>::len).collect::<Vec<_>>());
            assert!(array.iter().enumerate().all(|(at, x)| *x == round * at as u32), "{len} by {chunk}");
        }
        check_unused(array);
    }
}

#[pool_task(timeout = "1m", priority = "high")]
fn scale(
    part: &mut [f64],
    _offset: usize,
    factor: f64,
    table: &SharedSlice<f64>,
    name: &str,
) -> (String, SharedVec<f64>) {
    part.iter_mut().zip(table.iter()).for_each(|(x, y)| *x = *x * factor + y);
    (name.to_uppercase(), SharedVec::from_slice(part).unwrap())
}

fn arguments_and_results_travel(setup: &Setup) {
    let pool = setup.pool();
    let table = SharedVec::from_slice(&[0.5, 0.25]).unwrap().freeze().unwrap();
    let mut array = SharedVec::from_slice(&[1.0, 2.0, 3.0]).unwrap();
    let task = scale::Task.label("scaled").priority(Priority::Low);
    let results = pool.map_chunks_mut(task, &mut array, 2, (10.0, &table, "name")).unwrap();
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(*array, [10.5, 20.25, 30.5]);
    assert!(results.iter().all(|(name, _)| name == "NAME"));
    assert_eq!((&*results[0].1, &*results[1].1), (&[10.5, 20.25][..], &[30.5][..]));
}

/// The process, and mapped bytes of arrays.
#[pool_task]
fn mapped(part: &mut [u8], _offset: usize) -> (u32, usize) {
    part.fill(1);
    (std::process::id(), mapped_bytes())
}

fn mapped_bytes() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ranges = maps.lines().filter(|line| line.contains("memfd:pool-array")).map(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        usize::from_str_radix(end, 16).unwrap() - usize::from_str_radix(start, 16).unwrap()
    });
    ranges.sum()
}

#[pool_task]
fn leftovers(_item: u32) -> (usize, usize) {
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    (mapped_bytes(), links.filter(|link| link.display().to_string().contains("memfd:pool-array")).count())
}

const PAGE: usize = 4096;

fn a_worker_maps_its_parts_alone(setup: &Setup) {
    let pool = setup.pool();
    for (chunk, most) in [(PAGE, PAGE), (PAGE + 1, 3 * PAGE), (10, 2 * PAGE)] {
        let mut array = SharedVec::zeroed(20 * PAGE).unwrap();
        let mut parts = HashMap::<u32, Vec<usize>>::new();
        for result in pool.map_chunks_mut(mapped::Task, &mut array, chunk, ()).unwrap() {
            let (pid, bytes) = result.unwrap();
            parts.entry(pid).or_default().push(bytes);
        }
        for bytes in parts.values() {
            assert!(
                bytes.iter().all(|found| (1..=bytes.len() * most).contains(found)),
                "{bytes:?} of parts of {chunk}"
            );
        }
        assert!(array.iter().all(|x| *x == 1));
        drop(array);
        let is_forgotten = || pool.map(leftovers::Task, 0..20).unwrap().iter().all(|left| *left == (0, 0));
        assert!(eventually(is_forgotten), "{:?}", pool.map(leftovers::Task, 0..20));
    }
}

fn other_tasks_find_no_part_mapped(setup: &Setup) {
    let pool = setup.pool();
    let mut array = SharedVec::zeroed(20 * PAGE).unwrap();
    for _ in 0..3 {
        let results = pool.map_chunks_mut(mapped::Task, &mut array, PAGE, ()).unwrap();
        assert!(results.into_iter().all(|result| result.unwrap().1 > 0));
        // At once, and though the array goes on.
        for (bytes, descriptors) in pool.map(leftovers::Task, 0..20).unwrap() {
            assert!(bytes == 0 && descriptors <= 1, "{bytes} bytes");
        }
    }
}

fn an_array_is_lent_again(setup: &Setup) {
    let pool = setup.pool();
    let mut first = SharedVec::zeroed(PAGE).unwrap();
    let mut second = SharedVec::zeroed(PAGE).unwrap();
    for round in 1..20 {
        for array in [&mut first, &mut second] {
            let results = pool.map_chunks_mut(number::Task, array, 100, ()).unwrap();
            assert_eq!(results.into_iter().map(Result::unwrap).sum::<usize>(), array.len());
            assert!(array.iter().enumerate().all(|(at, x)| *x == round * at as u32));
            // The workers see the memory where the host has moved it.
            array.extend_from_slice(&vec![0; 2 * PAGE]).unwrap();
            array.iter_mut().enumerate().for_each(|(at, x)| *x = round * at as u32);
        }
        // One that is killed while it starts has failed to start, and a few times in a row would break the pool.
        pool.wait_ready().unwrap();
        kill_9(pool.worker_pids()[0]);
    }
    assert_eq!(*second.freeze().unwrap(), *check_unused(first));
}

#[pool_task]
fn write_behind_the_gate(part: &mut [u32], _offset: usize, gate: &str) {
    count(gate);
    while fs::exists(gate).unwrap() {
        thread::sleep(Duration::from_millis(1));
    }
    part.fill(3);
}

fn an_array_is_frozen_while_its_writer_is_busy(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let mut first = SharedVec::zeroed(100).unwrap();
    pool.map_chunks_mut(number::Task, &mut first, 10, ()).unwrap();
    let gate = Gate::new();
    let mut second = SharedVec::zeroed(100).unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| pool.map_chunks_mut(write_behind_the_gate::Task, &mut second, 100, gate.path()));
        gate.wait();
        // The worker cannot unmap it now, so this is a copy.
        assert!(first.freeze().unwrap().iter().copied().eq(0..100));
        fs::remove_file(gate.path()).unwrap();
        writing.join().unwrap().unwrap().remove(0).unwrap();
    });
    assert!(check_unused(second).iter().all(|x| *x == 3));
}

/// Counts how often each part was begun, then fails in its way.
#[pool_task]
fn begin_and_fail(part: &mut [u32], offset: usize, way: u32) -> u32 {
    part[0] += 1;
    if offset.is_multiple_of(30) {
        match way {
            0 => std::process::abort(),
            1 => panic!("part at {offset}"),
            _ => thread::sleep(Duration::from_secs(600)),
        }
    }
    part[0]
}

fn check_failures(setup: &Setup, way: u32, kind: ErrorKind) {
    let pool = setup.builder().retries(3).build().unwrap();
    let mut array = SharedVec::zeroed(90).unwrap();
    let task = begin_and_fail::Task;
    let task = if way == 2 { task.timeout(Duration::from_millis(100)) } else { task.label("without a limit") };
    let results = silently(|| pool.map_chunks_mut(task, &mut array, 10, way)).unwrap();
    for (at, result) in results.iter().enumerate() {
        match result {
            Ok(begun) => assert_eq!(*begun, 1),
            Err(error) => assert_eq!((error.kind(), error.item(), error.attempts()), (kind, Some(at), 1), "{error}"),
        }
        assert_eq!(result.is_err(), at % 3 == 0);
        assert_eq!(array[at * 10], 1, "part {at} was begun once");
    }
    check_unused(array);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

fn a_death_is_the_error_of_its_part(setup: &Setup) {
    check_failures(setup, 0, ErrorKind::WorkerDied);
}

fn a_panic_is_the_error_of_its_part(setup: &Setup) {
    check_failures(setup, 1, ErrorKind::Panicked);
}

fn a_limit_ends_the_writer_first(setup: &Setup) {
    check_failures(setup, 2, ErrorKind::TaskTimeout);
}

#[pool_task(timeout = "50ms", grace = "5m")]
fn write_when_cancelled(part: &mut [u32], offset: usize) -> bool {
    while offset == 10 && !is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    part.fill(1);
    is_cancelled()
}

#[pool_task(timeout = "50ms", grace = "50ms")]
fn write_beyond_the_grace(part: &mut [u32], offset: usize) {
    for number in 1.. {
        part.fill(number);
        if offset != 10 {
            return;
        }
    }
}

fn a_part_has_its_grace(setup: &Setup) {
    let pool = setup.pool();
    let mut array = SharedVec::zeroed(30).unwrap();
    let results = pool.map_chunks_mut(write_when_cancelled::Task, &mut array, 10, ()).unwrap();
    assert!(results.into_iter().enumerate().all(|(at, result)| result.unwrap() || at != 1));
    assert_eq!(*array, [1; 30]);
    assert_eq!(pool.stats().workers_died, 0);
    let results = pool.map_chunks_mut(write_beyond_the_grace::Task, &mut array, 10, ()).unwrap();
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::TaskTimeout), None]);
    check_unused(array);
}

#[pool_task]
fn write_for_ever(part: &mut [u32], offset: usize, gate: &str) {
    count(gate);
    for number in (offset as u32..).cycle() {
        part.fill(number);
    }
}

fn termination_waits_for_writers(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut array = SharedVec::zeroed(100_000).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(eventually(|| gate.count() >= setup.workers));
            pool.terminate();
        });
        let error = pool
            .map_chunks_mut(write_for_ever::Task, &mut array, 10_000, gate.path())
            .map(|results| results.into_iter().find_map(Result::err).expect("no part was finished"));
        assert_eq!(error.unwrap_or_else(|error| error).kind(), ErrorKind::Terminated);
    });
    check_unused(array);
}

#[pool_task]
fn write_after_a_while(part: &mut [u32], _offset: usize, gate: &str) {
    count(gate);
    thread::sleep(Duration::from_millis(100));
    part.fill(1);
}

fn cancelled_parts_are_not_written(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut array = SharedVec::zeroed(100).unwrap();
    let results = thread::scope(|scope| {
        scope.spawn(|| {
            gate.wait();
            assert!(pool.cancel_pending() > 0);
        });
        pool.map_chunks_mut(write_after_a_while::Task, &mut array, 1, gate.path()).unwrap()
    });
    for (x, result) in array.iter().zip(&results) {
        assert_eq!(*x, u32::from(result.is_ok()));
        assert!(result.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::Cancelled));
    }
    assert!(results.iter().any(Result::is_ok) && results.iter().any(Result::is_err));
    check_unused(array);
}

#[pool_task]
fn write_slowly(part: &mut [u32], offset: usize) {
    for x in part {
        thread::sleep(Duration::from_micros(50));
        *x = offset as u32;
    }
}

fn killed_workers_leave_no_writer(setup: &Setup) {
    let pool = setup.builder().restart_limit(1000).build().unwrap();
    let mut array = SharedVec::zeroed(4000).unwrap();
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            for round in 0..10 {
                thread::sleep(Duration::from_millis(7));
                let pids = pool.worker_pids();
                if let Some(pid) = pids.get(round % pids.len().max(1)) {
                    kill_9(*pid);
                }
            }
        });
        while !killer.is_finished() {
            let results = pool.map_chunks_mut(write_slowly::Task, &mut array, 100, ()).unwrap();
            for (at, result) in results.into_iter().enumerate() {
                match result {
                    Ok(()) => assert!(array[at * 100..][..100].iter().all(|x| *x == at as u32 * 100)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WorkerDied),
                }
            }
            array.fill(7);
            thread::sleep(Duration::from_millis(1));
            assert!(array.iter().all(|x| *x == 7), "nobody writes it now");
        }
    });
    check_unused(array);
}

fn input_out_of_range_is_refused(setup: &Setup) {
    let pool = setup.pool();
    let mut array = SharedVec::zeroed(10).unwrap();
    let kind = |task: pool_core::Result<_>| task.map(|_: Vec<pool_core::Result<usize>>| ()).unwrap_err().kind();
    assert_eq!(kind(pool.map_chunks_mut(number::Task, &mut array, 0, ())), ErrorKind::InvalidInput);
    let task = number::Task.timeout(Duration::ZERO);
    assert_eq!(kind(pool.map_chunks_mut(task, &mut array, 1, ())), ErrorKind::InvalidInput);
    pool.close();
    assert_eq!(kind(pool.map_chunks_mut(number::Task, &mut array, 1, ())), ErrorKind::Closed);
    check_unused(array);
}

#[pool_task]
fn start_or_not(path: &str) -> Result<(), String> {
    if fs::exists(path).unwrap() { Err("no more".to_owned()) } else { Ok(()) }
}

#[pool_task]
fn break_the_pool(part: &mut [u32], _offset: usize, path: &str) {
    part.fill(1);
    fs::write(path, "").unwrap();
    std::process::abort();
}

fn a_pool_that_breaks_leaves_no_writer(setup: &Setup) {
    let path = std::env::temp_dir().join(format!("pool-breaks-{}", std::process::id()));
    let name = path.to_str().unwrap();
    let pool = setup.builder().restart_limit(1).initializer(start_or_not::Task, name).build().unwrap();
    let mut array = SharedVec::zeroed(1000).unwrap();
    let result = pool.map_chunks_mut(break_the_pool::Task, &mut array, 1, name);
    let errors: Vec<_> = match result {
        Ok(results) => results.into_iter().map(|result| result.unwrap_err().kind()).collect(),
        Err(error) => vec![error.kind()],
    };
    assert!(errors.contains(&ErrorKind::Broken), "{errors:?}");
    check_unused(array);
    fs::remove_file(&path).unwrap();
}

#[pool_task]
fn limit_descriptors(soft: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    before
}

fn a_part_without_a_descriptor_is_an_error(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let before = pool.apply(limit_descriptors::Task, 3).unwrap();
    let mut array = SharedVec::zeroed(10).unwrap();
    let results = pool.map_chunks_mut(number::Task, &mut array, 5, ()).unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::System), "{results:?}");
    assert!(array.iter().all(|x| *x == 0));
    pool.apply(limit_descriptors::Task, before).unwrap();
    let results = pool.map_chunks_mut(number::Task, &mut array, 5, ()).unwrap();
    assert!(results.iter().all(Result::is_ok));
    check_unused(array);
}

#[pool_task]
fn in_a_nested_pool(len: usize) -> SharedVec<u32> {
    let mut array = SharedVec::zeroed(len).unwrap();
    let results = Pool::new(2).unwrap().map_chunks_mut(number::Task, &mut array, 7, ()).unwrap();
    assert!(results.iter().all(Result::is_ok));
    array
}

fn arrays_are_written_in_a_nested_pool(setup: &Setup) {
    let array = setup.pool().apply(in_a_nested_pool::Task, 100).unwrap();
    assert!(check_unused(array).iter().copied().eq(0..100));
}
