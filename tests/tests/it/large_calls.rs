//! Large arguments of single calls and broadcasts, which workers read where the host has written them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use pool_core::prelude::*;
use tests::leaks::{fds, resident_bytes_of};
use tests::procs::eventually;
use tests::tasks::{Way, echo};
use tests::trial::{Check, Setup, each_method};

use crate::large_arguments::mapping_of;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(lent_bytes_and_numbers_of_a_call_are_not_copied_to_the_worker),
        each_method(all_calls_of_a_broadcast_read_the_same_bytes),
        each_method(more_large_arguments_than_there_is_shared_memory_pass),
        each_method(the_memory_of_large_arguments_comes_back_after_each_end),
        each_method(a_pool_gives_its_memory_back_after_a_burst),
    ]
}

fn is_shared<T>(values: &[T]) -> bool {
    mapping_of(values).contains("memfd:pool-hub")
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

/// Memory of the host and of each worker that is their own, and memory that the pool shares among them.
fn memory_of(pool: &Pool) -> (Vec<usize>, usize) {
    let own = |pid| resident_bytes_of(pid).0;
    let shared = fds().into_iter().filter(|(_, target)| target.contains("memfd:pool-"));
    // Each block has 512 bytes, see inode(7).
    let files = shared
        .map(|(fd, _)| fs::metadata(format!("/proc/self/fd/{fd}")).map_or(0, |file| file.blocks() as usize * 512));
    (pool.worker_pids().into_iter().chain([std::process::id()]).map(own).collect(), files.sum())
}

fn a_pool_gives_its_memory_back_after_a_burst(setup: &Setup) {
    const BURST: usize = 96 << 20;
    /// The memory for large arguments is kept: 65 MiB, and a MiB for each ring that has grown.
    const KEPT: usize = 80 << 20;
    let pool = setup.pool();
    let work = |bytes: usize| {
        let sent = vec![3; bytes];
        let lent: Vec<_> = (0..3).map(|_| pool.apply_async(look::Task, &sent).unwrap()).collect();
        let given: Vec<_> = (0..2).map(|_| pool.apply_async(echo::Task, sent.clone()).unwrap()).collect();
        assert!(lent.into_iter().all(|call| call.get().unwrap().1 == bytes));
        let back: Vec<_> = given.into_iter().map(|call| call.get().unwrap()).collect();
        assert!(back.iter().all(|bytes| *bytes == sent));
        memory_of(&pool)
    };
    work(1000);
    let (own, shared) = memory_of(&pool);
    let (own_then, _) = work(BURST);
    assert!(own_then.last() > own.last().map(|own| own + BURST).as_ref(), "{own_then:?}");
    work(32 << 20);
    let is_back = |now: (Vec<usize>, usize)| {
        let pairs = own.iter().zip(&now.0);
        now.1 < shared + KEPT && pairs.into_iter().all(|(before, now)| *now < before + BURST / 4)
    };
    assert!(eventually(|| is_back(memory_of(&pool))), "{own:?} {shared}, now {:?}", memory_of(&pool));
}
