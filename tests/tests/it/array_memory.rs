//! The memory of arrays, as the processes that share it are charged for it.

use std::fs;

use pool_core::{SharedVec, pool_task};
use tests::procs::descendants;
use tests::trial::{Check, Setup, each_method, once};

use crate::arrays::{numbers, sum};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(shared_pages_do_not_count_as_a_workers_own),
        once(mapped_parts_do_not_count_as_a_workers_own),
        each_method(all_processes_together_have_an_array_once),
    ]
}

fn shared_pages_do_not_count_as_a_workers_own(setup: &Setup) {
    let pool = setup.with_workers(1).builder().max_worker_rss(16 << 20).build().unwrap();
    let data = SharedVec::<f64>::zeroed(8 << 20).unwrap().freeze().unwrap();
    let pids = pool.worker_pids();
    for _ in 0..5 {
        pool.map(sum::Task, data.chunks(1 << 20)).unwrap();
    }
    assert_eq!(pool.worker_pids(), pids);
}

#[pool_task]
fn fill(part: &mut [u64], offset: usize) {
    part.fill(offset as u64);
}

fn mapped_parts_do_not_count_as_a_workers_own(setup: &Setup) {
    let pool = setup.with_workers(1).builder().max_worker_rss(16 << 20).build().unwrap();
    let mut array = SharedVec::<u64>::zeroed(8 << 20).unwrap();
    let pids = pool.worker_pids();
    for _ in 0..3 {
        for result in pool.map_chunks_mut(fill::Task, &mut array, 1 << 18, ()).unwrap() {
            result.unwrap();
        }
    }
    assert!(array.iter().enumerate().all(|(at, x)| *x == (at >> 18 << 18) as u64));
    assert_eq!(pool.worker_pids(), pids);
}

/// Sums of a line over the mappings of arrays in this process and all of its workers, in bytes.
fn of_arrays(line: &str) -> usize {
    let pids = descendants().into_iter().map(|process| process.pid).chain([std::process::id()]);
    let mut bytes = 0;
    for pid in pids {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
        let mut is_array = false;
        for text in maps.lines() {
            let mut words = text.split_whitespace();
            match (words.next(), words.next()) {
                (Some(name), Some(number)) if name == line && is_array => {
                    bytes += number.parse::<usize>().unwrap() << 10
                }
                (Some(name), _) if !name.ends_with(':') => is_array = text.contains("memfd:pool-array"),
                _ => {}
            }
        }
    }
    bytes
}

fn all_processes_together_have_an_array_once(setup: &Setup) {
    let pool = setup.pool();
    let data = numbers(2 << 20);
    let sums = pool.broadcast(sum::Task, data.clone()).unwrap();
    assert_eq!(sums.len(), setup.workers);
    assert!(sums.into_iter().all(|of_worker| of_worker.unwrap() == data.iter().sum::<f64>()));
    let size = data.len() * size_of::<f64>();
    // Each process has all of it, ...
    assert_eq!(of_arrays("Rss:"), (setup.workers + 1) * size);
    // ... and the part of each in the pages that all have makes one array.
    assert!(of_arrays("Pss:").abs_diff(size) < size / 10, "{} bytes of {size}", of_arrays("Pss:"));
}
