//! Large arguments that are lent: workers read them in memory that the host has written once.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool_core::prelude::*;
use tests::leaks::resident_bytes;
use tests::procs::{eventually, kill_9};
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(values_of_any_length_and_kind_arrive),
        each_method(large_slices_are_lent_in_place_and_small_ones_arrive_too),
        once(memory_of_killed_workers_and_cancelled_maps_is_used_again),
        once(a_long_map_of_large_items_takes_bounded_memory),
        once(maps_that_do_not_wait_take_as_much_as_they_need),
        once(lent_memory_is_not_the_workers_growth),
        once(a_file_size_limit_leaves_large_values_to_the_rings),
        once(a_task_that_writes_to_its_argument_hurts_only_itself),
    ]
}

const MIB: usize = 1 << 20;

fn numbers(length: usize, seed: usize) -> Vec<f64> {
    (0..length).map(|at| (at * 31 + seed) as f64).collect()
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed) as u8).collect()
}

#[pool_task]
fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

#[pool_task]
fn hashes(text: &str, bytes: &[u8], words: &[u16], rest: Vec<bool>, number: u64) -> (usize, u64, u64, usize, u64) {
    let bytes = bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(*byte));
    let words = words.iter().fold(0, |sum: u64, word| sum.wrapping_mul(31) + u64::from(*word));
    (text.chars().count(), bytes, words, rest.iter().filter(|flag| **flag).count(), number)
}

fn values_of_any_length_and_kind_arrive(setup: &Setup) {
    let pool = setup.pool();
    let lengths = [0, 1, 1000, 16_000, 16_383, 16_384, 20_000, 100_000, 3 << 17, 1 << 20, 9 << 20];
    let inputs: Vec<Vec<f64>> = lengths.iter().enumerate().map(|(seed, &length)| numbers(length, seed)).collect();
    for _ in 0..3 {
        let sums = pool.map(sum::Task, inputs.iter().map(Vec::as_slice)).unwrap();
        assert!(sums.iter().zip(&inputs).all(|(sum, input)| *sum == input.iter().sum::<f64>()));
    }
    let text = "äöü ".repeat(MIB / 8);
    for length in [10, 70_000, 2 * MIB] {
        let (bytes, flags) = (bytes(length, 5), vec![true; length / 2]);
        let words: Vec<u16> = (0..length).map(|at| at as u16).collect();
        let args = |number| (text.as_str(), bytes.as_slice(), words.as_slice(), flags.clone(), number);
        let expected = |number| hashes(&text, &bytes, &words, flags.clone(), number);
        let found = pool.map(hashes::Task, (0..6).map(args)).unwrap();
        assert!(found.into_iter().eq((0..6).map(expected)), "{length}");
        assert_eq!(pool.apply(hashes::Task, args(7)).unwrap(), expected(7));
    }
}

/// The mapping of this process in which the values lie, and its rights.
pub(crate) fn mapping_of<T>(values: &[T]) -> String {
    let address = values.as_ptr().addr();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let holds = |line: &&str| {
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
        (start..end).contains(&address)
    };
    maps.lines().find(holds).unwrap_or_default().to_owned()
}

#[pool_task]
fn home(values: &[f64]) -> String {
    mapping_of(values)
}

fn large_slices_are_lent_in_place_and_small_ones_arrive_too(setup: &Setup) {
    let pool = setup.pool();
    let all = numbers(4 * MIB / 8, 1);
    for _ in 0..20 {
        for home in pool.map(home::Task, all.chunks(MIB / 8)).unwrap() {
            assert!(home.contains("memfd:pool-hub") && home.contains(" r--s "), "{home}");
        }
    }
    assert!(pool.map(home::Task, all.chunks(1000)).unwrap().iter().all(|home| !home.is_empty()));
}

#[pool_task]
fn sum_or_sleep(values: &[f64], sleeps: bool) -> f64 {
    if sleeps {
        std::thread::sleep(Duration::from_secs(600));
    }
    values.iter().sum()
}

fn memory_of_killed_workers_and_cancelled_maps_is_used_again(setup: &Setup) {
    let pool = setup.pool();
    let values = numbers(16 * MIB / 8, 3);
    for round in 0..6 {
        let job = pool.map_async(sum_or_sleep::Task, (0..4).map(|_| (values.as_slice(), true))).unwrap();
        assert!(eventually(|| pool.worker_pids().len() == 2));
        if round % 2 == 0 {
            pool.worker_pids().into_iter().for_each(kill_9);
        }
        assert!(job.cancel());
    }
    // If a segment were lost, the rest of the arena would be too small for one of these.
    // Those of a worker that was killed are in use until its end is known.
    let homes = || pool.map(home::Task, [&values[..]; 3]).unwrap();
    assert!(eventually(|| homes().iter().all(|home| home.contains("memfd:pool-hub"))));
}

fn a_long_map_of_large_items_takes_bounded_memory(setup: &Setup) {
    let pool = setup.pool();
    let values = numbers(16 * MIB / 8, 3);
    let before = resident_bytes();
    let expected: f64 = values.iter().sum();
    let mut most = 0;
    let items = (0..24).map(|_| {
        most = most.max(resident_bytes());
        values.as_slice()
    });
    assert_eq!(pool.map(sum::Task, items).unwrap(), [expected; 24]);
    assert!(most - before < 120 * MIB, "{} MiB for items of 16 MiB", (most - before) / MIB);
}

fn maps_that_do_not_wait_take_as_much_as_they_need(setup: &Setup) {
    let pool = setup.pool();
    let values = numbers(16 * MIB / 8, 3);
    let expected: f64 = values.iter().sum();
    // More than the arena holds, so the others go through the rings.
    let job = pool.map_async(sum::Task, [&values[..]; 10]).unwrap();
    assert_eq!(job.get().unwrap(), [expected; 10]);
    // One that fits nowhere but in a vector.
    let larger = numbers(80 * MIB / 8, 9);
    assert_eq!(pool.map(sum::Task, [&larger[..]; 2]).unwrap(), [larger.iter().sum::<f64>(); 2]);
    let lazy: Vec<f64> = pool.imap(sum::Task, [&values[..]; 10]).unwrap().map(Result::unwrap).collect();
    assert_eq!(lazy, [expected; 10]);
}

fn lent_memory_is_not_the_workers_growth(setup: &Setup) {
    let pool = setup.with_workers(1).builder().max_worker_rss(16 << 20).build().unwrap();
    let values = numbers(16 * MIB / 8, 3);
    for _ in 0..10 {
        // Longer than the time between two looks at the size.
        std::thread::sleep(Duration::from_millis(10));
        let sums = pool.map(sum::Task, [&values[..]; 3]).unwrap();
        assert_eq!(sums, [values.iter().sum::<f64>(); 3]);
    }
    assert_eq!(pool.stats().workers_started, 1, "a worker was replaced for the memory of its arguments");
}

fn a_file_size_limit_leaves_large_values_to_the_rings(setup: &Setup) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 4 << 20, hard).unwrap();
    let pool = setup.pool();
    let values = numbers(16 * MIB / 8, 3);
    assert_eq!(pool.map(sum::Task, [&values[..]; 3]).unwrap(), [values.iter().sum::<f64>(); 3]);
    let homes = pool.map(home::Task, [&values[..]]).unwrap();
    assert!(!homes[0].contains("memfd:pool-hub"), "{homes:?}");
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
}

#[pool_task]
fn write_to(values: &[f64], writes: bool) -> f64 {
    if writes {
        let first = values.as_ptr().cast_mut();
        // SAFETY: none; this is the fault that the pool contains.
        unsafe { first.write_volatile(0.0) };
    }
    values.iter().sum()
}

fn a_task_that_writes_to_its_argument_hurts_only_itself(setup: &Setup) {
    let pool = setup.pool();
    let values = numbers(MIB, 3);
    let expected: f64 = values.iter().sum();
    let results = pool.map_results(write_to::Task, (0..12).map(|item| (values.as_slice(), item % 4 == 1))).unwrap();
    for (item, result) in results.into_iter().enumerate() {
        match result {
            Ok(sum) => assert!(item % 4 != 1 && sum == expected, "item {item}: {sum}"),
            Err(error) => assert!(item % 4 == 1 && error.to_string().contains("SIGSEGV"), "item {item}: {error}"),
        }
    }
}
