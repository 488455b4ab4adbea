//! Workers that need more memory than they may have.

use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use pool_core::prelude::*;
use tests::leaks::threads;
use tests::procs::eventually;
use tests::tasks::{Way, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        // Rust says on standard error that an allocation has failed.
        each_method(a_task_past_its_memory_limit_fails_alone).noisy(),
        each_method(an_allocation_that_c_does_not_check_is_past_the_limit),
        each_method(a_panic_about_memory_is_a_panic),
        each_method(arguments_past_the_limit_fail_alone).noisy(),
        each_method(a_result_past_the_limit_fails_alone).noisy(),
        each_method(a_limit_that_leaves_no_room_ends_in_an_error).noisy(),
        each_method(a_refusal_that_a_task_has_coped_with_is_no_cause_of_a_later_death),
        each_method(a_refusal_is_no_cause_of_a_fault_elsewhere),
    ]
}

const LIMIT: u64 = 64 << 20;
const TOO_MUCH: usize = 256 << 20;

/// The error of item 1 of a map: it went past the limit, and says so.
fn assert_past_the_limit(error: &pool_core::Error) {
    assert_eq!((error.kind(), error.item()), (ErrorKind::MemoryLimit, Some(1)), "{error}");
    assert!(error.to_string().contains(": needed more than 64 MiB (killed by signal "), "{error}");
    assert!(error.exit_status().is_some());
}

#[pool_task]
fn allocate(bytes: usize) -> usize {
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    memory.iter().map(|byte| usize::from(*byte)).sum()
}

fn a_task_past_its_memory_limit_fails_alone(setup: &Setup) {
    let pool = setup.builder().memory_limit(64 << 20).build().unwrap();
    assert_eq!(pool.apply(allocate::Task, 16 << 20).unwrap(), 16 << 20);
    let results = pool.map_results(allocate::Task, [1, 256 << 20, 2]).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let error = results[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::MemoryLimit, Some(1)), "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

/// The habit of much C: the memory is used without a look at the null pointer.
#[pool_task]
fn allocate_as_in_c(bytes: usize) -> u8 {
    // SAFETY:
    // - `malloc` has no preconditions.
    let memory = unsafe { libc::malloc(bytes) }.cast::<u8>();
    // SAFETY:
    // - there is none if the allocation fails: dying of a null pointer is the purpose. Else the memory is ours.
    unsafe { memory.write_volatile(7) };
    // SAFETY:
    // - as above.
    unsafe { memory.read_volatile() }
}

fn an_allocation_that_c_does_not_check_is_past_the_limit(setup: &Setup) {
    let pool = setup.builder().memory_limit(LIMIT).build().unwrap();
    let results = pool.map_results(allocate_as_in_c::Task, [1000, TOO_MUCH, 1000]).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let error = results[1].as_ref().unwrap_err();
    assert_past_the_limit(error);
    assert!(error.to_string().ends_with("(killed by signal 11 (SIGSEGV))"), "{error}");
}

#[pool_task]
fn map_memory(bytes: usize) {
    let length = NonZeroUsize::new(bytes).unwrap();
    // SAFETY:
    // - it is a new mapping, which nobody uses.
    unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) }
        .unwrap();
}

fn a_panic_about_memory_is_a_panic(setup: &Setup) {
    let pool = setup.builder().memory_limit(LIMIT).build().unwrap();
    let error = pool.apply(map_memory::Task, TOO_MUCH).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    assert!(error.panic_message().unwrap().contains("ENOMEM"), "{error}");
    assert_eq!(pool.stats().workers_died, 0);
}

#[pool_task]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[pool_task]
fn numbers(count: usize) -> Vec<(u64, String)> {
    vec![(u64::MAX, String::new()); count]
}

fn arguments_past_the_limit_fail_alone(setup: &Setup) {
    let pool = setup.builder().memory_limit(LIMIT).build().unwrap();
    let large = vec![1; TOO_MUCH];
    let results = pool.map_results(length::Task, [&large[..10], &large, &large[..20]]).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_past_the_limit(results[1].as_ref().unwrap_err());
    let error = pool.apply(length::Task, &large).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MemoryLimit, "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.stats().workers_died, 2);
}

fn a_result_past_the_limit_fails_alone(setup: &Setup) {
    let pool = setup.builder().memory_limit(LIMIT).build().unwrap();
    // 48 MiB of values, which take 22 MiB to be encoded, in a vector that doubles.
    let results = pool.map_results(numbers::Task, [10, 3 << 19, 20]).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{:?}", results.iter().map(Result::is_ok).collect::<Vec<_>>());
    assert_past_the_limit(results[1].as_ref().unwrap_err());
    assert_eq!(pool.stats().workers_died, 1);
}

fn a_limit_that_leaves_no_room_ends_in_an_error(setup: &Setup) {
    for limit in [0, 1, 4096, 64 << 10, 256 << 10, 1 << 20] {
        let pool = setup.builder().memory_limit(limit).restart_limit(1).build().unwrap();
        // The memory that a worker starts with may do for small tasks. If it does not, the error says so.
        match pool.apply(square::Task, 3) {
            Ok(square) => {
                assert_eq!(square, 9);
                let error = pool.apply(allocate::Task, 16 << 20).unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::MemoryLimit | ErrorKind::Broken), "{limit}: {error}");
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::MemoryLimit | ErrorKind::Broken), "{limit}: {error}")
            }
        }
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}

/// Is refused memory, and copes with that; or goes another way.
#[pool_task]
fn cope_or_go(way: Option<Way>) -> bool {
    match way {
        Some(way) => way.go(),
        None => Vec::<u8>::new().try_reserve_exact(TOO_MUCH).is_err(),
    }
}

#[pool_task]
fn cope_or_go_with_text(way: Option<Way>, text: &str) -> String {
    cope_or_go(way);
    text.to_owned()
}

fn a_refusal_that_a_task_has_coped_with_is_no_cause_of_a_later_death(setup: &Setup) {
    let pool = setup.with_workers(1).builder().memory_limit(LIMIT).build().unwrap();
    for way in [Way::Segfault, Way::Abort] {
        assert!(pool.apply(cope_or_go::Task, None).unwrap());
        let error = pool.apply(cope_or_go::Task, Some(way)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        // Nor is one of an item before in the same chunk.
        let results = pool.map_results(cope_or_go::Task.chunk_size(3), [None, Some(way), None]).unwrap();
        assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::WorkerDied, "{results:?}");
        let items = [(None, "one"), (Some(way), "two"), (None, "three")];
        let results = pool.map_results(cope_or_go_with_text::Task.chunk_size(3), items).unwrap();
        assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::WorkerDied, "{results:?}");
    }
}

#[pool_task]
fn cope_and_write(address: usize) {
    assert!(cope_or_go(None));
    let nowhere = std::ptr::without_provenance_mut::<u64>(address);
    // SAFETY:
    // - there is none: nothing is mapped there, and dying of that is the purpose.
    unsafe { nowhere.write_volatile(1) };
}

fn a_refusal_is_no_cause_of_a_fault_elsewhere(setup: &Setup) {
    let pool = setup.with_workers(1).builder().memory_limit(LIMIT).build().unwrap();
    // The last page below the kernel's half, and an address that is none, of which no fault says where it was.
    for address in [0x7fff_ffff_f000, 0x8000_0000_0000_0000] {
        let error = pool.apply(cope_and_write::Task, address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    }
}
