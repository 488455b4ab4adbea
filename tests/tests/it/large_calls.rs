//! Large arguments of single calls and broadcasts, which workers read where the host has written them.

use std::fs;

use pool_core::prelude::*;
use tests::procs::eventually;
use tests::tasks::Way;
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(lent_bytes_and_numbers_of_a_call_are_not_copied_to_the_worker),
        each_method(all_calls_of_a_broadcast_read_the_same_bytes),
        each_method(more_large_arguments_than_there_is_shared_memory_pass),
        each_method(the_memory_of_large_arguments_comes_back_after_each_end).workers(&[2]),
    ]
}

/// The mapping in which the address lies.
fn mapping_of<T>(address: *const T) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let holds = |line: &&str| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| usize::from_str_radix(number, 16).unwrap());
        (start..end).contains(&address.addr())
    };
    maps.lines().find(holds).unwrap().to_owned()
}

fn is_shared<T>(values: &[T]) -> bool {
    mapping_of(values.as_ptr()).contains("memfd:pool-hub")
}

/// Whether the bytes lie in shared memory, and how many these are.
#[pool_task]
fn look(bytes: &[u8]) -> (bool, usize) {
    // A debug build would take its time for all of them.
    assert!(bytes.iter().step_by(499).chain(bytes.last()).all(|byte| *byte == 3));
    (is_shared(bytes), bytes.len())
}

#[pool_task]
fn look_at_parts(first: u8, numbers: &[f64], text: &str) -> (bool, f64) {
    let sum = f64::from(first) + numbers.iter().sum::<f64>() + text.len() as f64;
    (is_shared(numbers) && is_shared(text.as_bytes()), sum)
}

#[pool_task]
fn leave(bytes: &[u8], way: Way) -> usize {
    std::hint::black_box(bytes);
    way.go()
}

const LARGE: [usize; 4] = [128 << 10, 1 << 20, (5 << 20) + 3, 32 << 20];

fn lent_bytes_and_numbers_of_a_call_are_not_copied_to_the_worker(setup: &Setup) {
    let pool = setup.pool();
    for bytes in LARGE {
        let sent = vec![3; bytes];
        assert_eq!(pool.apply(look::Task, &sent).unwrap(), (true, bytes));
        let numbers = vec![0.5; bytes / 8];
        let parts = (7, numbers.as_slice(), "of one item");
        assert_eq!(pool.apply(look_at_parts::Task, parts).unwrap(), (true, 18.0 + 0.5 * numbers.len() as f64));
    }
}

fn all_calls_of_a_broadcast_read_the_same_bytes(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..4 {
        let results = pool.broadcast(look::Task, &vec![3; 40 << 20]).unwrap();
        assert_eq!(results.len(), setup.workers);
        assert!(results.into_iter().all(|result| result.unwrap() == (true, 40 << 20)));
    }
}

fn more_large_arguments_than_there_is_shared_memory_pass(setup: &Setup) {
    let pool = setup.pool();
    let sent = vec![3; 10 << 20];
    // While nobody is through with any of it.
    let hung: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(leave::Task, (&[], Way::Hang)).unwrap()).collect();
    let calls: Vec<_> = (0..12).map(|_| pool.apply_async(look::Task, &sent).unwrap()).collect();
    hung.iter().for_each(|job| assert!(job.cancel()));
    let found: Vec<_> = calls.into_iter().map(|call| call.get().unwrap()).collect();
    assert!(found.iter().all(|(_, bytes)| *bytes == 10 << 20));
    assert!(found.iter().any(|(is_shared, _)| *is_shared) && !found.iter().all(|(is_shared, _)| *is_shared));
    // One that is larger than all of it.
    assert_eq!(pool.apply(look::Task, &vec![3; 70 << 20]).unwrap(), (false, 70 << 20));
}

fn the_memory_of_large_arguments_comes_back_after_each_end(setup: &Setup) {
    let pool = setup.builder().restart_limit(100).build().unwrap();
    let sent = vec![3; 40 << 20];
    let is_free = || eventually(|| pool.apply(look::Task, &sent).unwrap() == (true, 40 << 20));
    for way in [Way::Kill, Way::Panic] {
        assert!(pool.apply(leave::Task, (&sent, way)).is_err());
        assert!(is_free());
    }
    let job = pool.apply_async(leave::Task, (&sent, Way::Hang)).unwrap();
    job.cancel();
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(is_free());
    drop(pool.apply_async(look::Task, &sent).unwrap());
    assert!(is_free());
}
