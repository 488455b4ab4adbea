//! Tasks that damage their process, its descriptors and the memory that it shares: only their own job suffers.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::thread;

use pool_core::prelude::*;
use tests::gate::{Gate, count, pass};
use tests::procs::eventually;
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_task_may_do_anything_to_the_descriptors),
        each_method(a_task_that_unmaps_shared_memory_fails_alone),
        each_method(a_task_that_scribbles_over_shared_memory_hurts_nobody_else),
        each_method(an_initializer_that_scribbles_is_not_taken_for_killed_by_others),
        each_method(a_thread_that_scribbles_when_its_task_has_ended_hurts_no_later_call),
    ]
}

/// The pool is as good as new.
pub(crate) fn assert_works(pool: &Pool, setup: &Setup) {
    assert_eq!(pool.map(square::Task, 0..1000).unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    assert!(eventually(|| pool.worker_pids().len() == setup.workers));
}

#[pool_task]
fn close_everything() {
    // SAFETY:
    // - it breaks every owner of a descriptor, which is the purpose; the worker uses none of them afterwards.
    unsafe { libc::close_range(0, u32::MAX, 0) };
}

/// Puts something else in the place of every descriptor that there is or could be.
#[pool_task]
fn replace_everything() {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    for fd in (0..64).filter(|fd| *fd != null.as_raw_fd()) {
        // SAFETY:
        // - as above.
        unsafe { libc::dup2(null.as_raw_fd(), fd) };
    }
    std::mem::forget(null);
}

fn a_task_may_do_anything_to_the_descriptors(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        pool.apply(close_everything::Task, ()).unwrap();
        pool.apply(replace_everything::Task, ()).unwrap();
        assert_works(&pool, setup);
    }
    assert_eq!(pool.stats().items_failed, 0);
    assert_eq!(pool.stats().workers_died, 0);
}

/// The shared memory of this process: addresses and lengths of its mappings, whether only those that it may write to.
fn shared_memory(writable: bool) -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ours = maps.lines().filter(|line| line.contains("memfd:") && (!writable || line.contains(" rw-s ")));
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
        Some((start, end - start))
    };
    ours.filter_map(range).collect()
}

#[pool_task]
fn unmap() {
    for (start, length) in shared_memory(false) {
        // SAFETY:
        // - there is none: it unmaps memory that the worker needs, which is the purpose.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(start), length) };
    }
}

fn a_task_that_unmaps_shared_memory_fails_alone(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..3 {
        let unmapping = pool.apply_async(unmap::Task, ()).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        let error = unmapping.get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        assert!(error.to_string().ends_with("killed by signal 11 (SIGSEGV)"), "{error}");
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
        assert_works(&pool, setup);
    }
}

/// Fills every writable shared mapping of this process.
#[pool_task]
fn scribble(calls: &str) -> usize {
    count(calls);
    let bytes = scribble_everywhere();
    thread::sleep(Duration::from_millis(20));
    bytes
}

/// How many bytes that were.
fn scribble_everywhere() -> usize {
    let mut bytes = 0;
    for (start, length) in shared_memory(true) {
        let memory = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY:
        // - the memory is mapped and writable; overwriting memory that others share is the purpose.
        unsafe { memory.write_bytes(0xA5, length) };
        bytes += length;
    }
    bytes
}

fn a_task_that_scribbles_over_shared_memory_hurts_nobody_else(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..5 {
        let calls = Gate::new();
        let scribbling = pool.apply_async(scribble::Task, calls.path()).unwrap();
        let behind: Vec<_> = (0..10).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        // If the host has not looked meanwhile, the reply that is written last is in order.
        match scribbling.get() {
            Ok(bytes) => assert!(bytes > 128 << 10),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::WorkerDied), "{error}"),
        }
        for (x, job) in (0..).zip(behind) {
            assert_eq!(job.get().unwrap(), x * x);
        }
        assert_eq!(calls.count(), 1, "it ran again elsewhere");
        assert_works(&pool, setup);
    }
}

/// As an initializer.
#[pool_task]
fn scribble_at_first() {
    scribble_everywhere();
    thread::sleep(Duration::from_millis(20));
}

fn an_initializer_that_scribbles_is_not_taken_for_killed_by_others(setup: &Setup) {
    let mut texts = (0..30).filter_map(|_| {
        let builder = setup.builder().restart_limit(0).initializer(scribble_at_first::Task, ());
        // If the host has not looked meanwhile, the reply that is written last is in order.
        let text = builder.build().unwrap().apply(square::Task, 3).err()?.to_string();
        assert!(tests::procs::eventually(|| tests::leaks::threads().len() == 1));
        Some(text)
    });
    let text = texts.next().expect("the host has looked once in 30 times");
    assert!(text.contains("before it was ready: wrote over the memory that it shares with the host"), "{text}");
}

/// Leaves behind a thread that does so when the answer is there, and says when it has.
#[pool_task]
fn scribble_later(may: &str, done: &str) {
    let (may, done) = (may.to_owned(), done.to_owned());
    thread::spawn(move || {
        pass(&may);
        scribble_everywhere();
        count(&done);
    });
}

fn a_thread_that_scribbles_when_its_task_has_ended_hurts_no_later_call(setup: &Setup) {
    let pool = setup.pool();
    let scribble_after_the_answer = || {
        let (may, done) = (Gate::new(), Gate::new());
        pool.apply(scribble_later::Task, (may.path(), done.path())).unwrap();
        may.open();
        done.wait();
    };
    for x in 0..5 {
        scribble_after_the_answer();
        assert_eq!(pool.apply(square::Task, x).unwrap(), x * x);
        assert_works(&pool, setup);
    }
    scribble_after_the_answer();
    assert_works(&pool, setup);
    scribble_after_the_answer();
    pool.close();
    pool.join().unwrap();
    assert_eq!(pool.stats().items_failed, 0);
}
