//! Arguments and results of all sizes, in both directions at once.

use std::thread;

use pool_core::prelude::*;
use tests::host::say;
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, echo, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(payloads_of_all_sizes_pass_in_both_directions_at_once),
        each_method(a_huge_payload_passes),
        once(a_gigantic_payload_passes).backoff(Duration::from_secs(600)),
        each_method(payloads_pass_while_workers_are_killed).workers(&[1, 2, 5]),
        each_method(a_task_that_dies_before_it_has_read_its_payload_fails_alone),
        each_method(results_that_are_never_collected_hold_nobody_up),
        each_method(large_payloads_and_a_terminate_do_not_hang),
    ]
}

/// The bytes of each of a worker's two rings at first, and of one that has grown.
const RINGS: [usize; 2] = [16 << 10, 1 << 20];

/// Far more than goes in one piece.
const LONG: usize = 1300 << 10;

/// Nothing, a byte, more than a first block of items holds, about as much as a ring holds, and far more.
const SIZES: [usize; 13] = {
    let [first, grown] = RINGS;
    [0, 1, 1000, 2000, 12_000, first - 1, first, first + 1, grown - 1, grown, grown + 1, LONG, 8 << 20]
};

/// Bytes that tell where they belong.
fn payload(seed: usize, size: usize) -> Vec<u8> {
    let pattern: Vec<_> = (0..251).map(|at| (seed + at) as u8).collect();
    let mut bytes = pattern.repeat(size / pattern.len() + 1);
    bytes.truncate(size);
    bytes
}

#[pool_task]
fn echo_borrowed(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn payloads_of_all_sizes_pass_in_both_directions_at_once(setup: &Setup) {
    let pool = setup.pool();
    let payloads: Vec<_> = SIZES.into_iter().enumerate().map(|(seed, size)| payload(seed, size)).collect();
    // All are on their way before the first comes back.
    let one: Vec<_> = payloads.iter().map(|bytes| pool.apply_async(echo::Task, bytes.clone()).unwrap()).collect();
    let other: Vec<_> =
        payloads.iter().rev().map(|bytes| pool.apply_async(echo_borrowed::Task, bytes).unwrap()).collect();
    let map = pool.map(echo_borrowed::Task, payloads.iter().map(Vec::as_slice)).unwrap();
    assert!(map == payloads);
    for (job, sent) in one.into_iter().zip(&payloads) {
        assert!(job.get().unwrap() == *sent);
    }
    for (job, sent) in other.into_iter().zip(payloads.iter().rev()) {
        assert!(job.get().unwrap() == *sent);
    }
    // Lengths around a ring's, one after the other, so that records wrap at every place.
    for size in RINGS.into_iter().flat_map(|ring| (ring - 40..ring + 40).step_by(7)) {
        let sent = payload(size, size);
        assert!(pool.apply(echo_borrowed::Task, &sent).unwrap() == sent);
    }
}

fn a_huge_payload_passes(setup: &Setup) {
    let pool = setup.pool();
    let sent = payload(3, 64 << 20);
    let small = pool.map_async(square::Task, 0..1000).unwrap();
    assert!(pool.apply(echo_borrowed::Task, &sent).unwrap() == sent);
    assert_eq!(small.get().unwrap().len(), 1000);
}

/// A GiB in a release build, a quarter of one in others.
fn a_gigantic_payload_passes(setup: &Setup) {
    let bytes = if cfg!(debug_assertions) { 256 << 20 } else { 1 << 30 };
    // It is there up to six times: as sent and as taken out, and on its way in both processes.
    if available_memory() < 8 * bytes {
        return say("left out, since this machine has too little memory");
    }
    let pool = setup.pool();
    let sent = payload(5, bytes);
    let small = pool.map_async(square::Task, 0..1000).unwrap();
    assert!(pool.apply(echo_borrowed::Task, &sent).unwrap() == sent);
    assert_eq!(small.get().unwrap().len(), 1000);
    let error = pool.apply(die_with::Task, (&sent, Way::Kill)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

/// In bytes.
fn available_memory() -> usize {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib =
        info.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: usize| kib << 10)
}

fn payloads_pass_while_workers_are_killed(setup: &Setup) {
    // Some may be killed before they are ready.
    let pool = setup.builder().restart_limit(100).build().unwrap();
    let sizes = || SIZES.into_iter().cycle().take(45).enumerate();
    let kills = 5;
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..kills {
                assert!(eventually(|| !pool.worker_pids().is_empty()));
                if let Some(pid) = pool.worker_pids().get(round % setup.workers) {
                    kill_9(*pid);
                }
                thread::sleep(Duration::from_millis(15));
            }
        });
        let jobs: Vec<_> =
            sizes().map(|(seed, size)| pool.apply_async(echo::Task, payload(seed, size)).unwrap()).collect();
        let mut deaths = 0;
        for (job, (seed, size)) in jobs.into_iter().zip(sizes()) {
            match job.get() {
                Ok(bytes) => {
                    assert!(bytes == payload(seed, size), "payload {seed} of {size} bytes came back as {}", bytes.len())
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
                    deaths += 1;
                }
            }
        }
        assert!(deaths <= kills);
    });
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
}

#[pool_task]
fn die_with(bytes: &[u8], way: Way) -> usize {
    std::hint::black_box(bytes);
    way.go()
}

fn a_task_that_dies_before_it_has_read_its_payload_fails_alone(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let sent = payload(1, LONG);
    for way in [Way::ExitThree, Way::Kill] {
        let before = pool.apply_async(echo_borrowed::Task, &sent).unwrap();
        let dying = pool.apply_async(die_with::Task, (&sent, way)).unwrap();
        let behind = pool.apply_async(echo_borrowed::Task, &sent).unwrap();
        assert!(before.get().unwrap() == sent && behind.get().unwrap() == sent);
        assert_eq!(dying.get().unwrap_err().kind(), ErrorKind::WorkerDied);
    }
}

fn results_that_are_never_collected_hold_nobody_up(setup: &Setup) {
    let pool = setup.pool();
    let sent = payload(1, LONG / 2);
    let forgotten: Vec<_> = (0..50).map(|_| pool.apply_async(echo_borrowed::Task, &sent).unwrap()).collect();
    assert!(eventually(|| pool.stats().items_pending == 0), "nobody takes replies in");
    assert!(forgotten.iter().all(AsyncResult::ready));
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

fn large_payloads_and_a_terminate_do_not_hang(setup: &Setup) {
    let pool = setup.pool();
    let sent = payload(1, 8 << 20);
    let jobs: Vec<_> = (0..6).map(|_| pool.apply_async(echo_borrowed::Task, &sent).unwrap()).collect();
    pool.terminate();
    for job in jobs {
        assert!(job.get().map_or_else(|error| error.kind() == ErrorKind::Terminated, |bytes| bytes == sent));
    }
    pool.join().unwrap();
}
