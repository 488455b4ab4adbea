//! Preloads: run once before there are workers, and shared by all of them and by their replacements.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;
use std::thread;

use pool_core::prelude::*;
use pool_core::{SharedSlice, SharedVec, current_item, current_worker};
use tests::gate::{Gate, count};
use tests::procs::{descendants, eventually, fork_server, kill_9};
use tests::tasks::Way;
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    let copies = [StartMethod::ForkServer, StartMethod::Fork];
    vec![
        everywhere(all_workers_and_their_replacements_find_it).methods(&copies),
        each_method(it_comes_before_initializers_and_states).methods(&copies),
        each_method(its_memory_is_there_once).methods(&copies).workers(&[8]),
        each_method(limits_of_workers_count_from_behind_it).methods(&copies),
        each_method(large_arguments_and_arrays_reach_it).methods(&copies),
        each_method(workers_draw_numbers_of_their_own_after_it).methods(&copies),
        each_method(panics_and_deaths_of_tasks_are_told_after_it).methods(&copies),
        once(a_new_fork_server_runs_it_again),
        everywhere(in_the_process_it_runs_once_for_all_threads),
    ]
}

/// The text, and the process that has set it.
static TABLE: OnceLock<(String, u32)> = OnceLock::new();

#[pool_task]
fn load(text: &str, gate: &str) -> Result<(), String> {
    count(gate);
    if current_worker().is_some() || current_item().is_some() {
        return Err("it takes itself for a worker".to_owned());
    }
    TABLE.set((text.to_owned(), std::process::id())).map_err(|_| "it ran twice".to_owned())
}

#[pool_task]
fn table() -> Option<(String, u32)> {
    TABLE.get().cloned()
}

fn all_workers_and_their_replacements_find_it(setup: &Setup) {
    let runs = Gate::new();
    let pool = setup.builder().restart_limit(100).preload(load::Task, ("words", runs.path())).build().unwrap();
    let expected = Some(("words".to_owned(), fork_server().pid));
    assert_eq!(TABLE.get(), None);
    for round in 0..10 {
        let found: Vec<_> = pool.broadcast(table::Task, ()).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(found, vec![expected.clone(); setup.workers]);
        assert!(eventually(|| pool.worker_pids().len() == setup.workers));
        kill_9(pool.worker_pids()[round % setup.workers]);
        assert_eq!(pool.apply(table::Task, ()).unwrap(), expected);
        assert!(eventually(
            || pool.insights().workers.iter().map(|worker| worker.exit_count).sum::<u64>() > round as u64
        ));
        pool.wait_ready().unwrap();
    }
    pool.resize(setup.workers + 3).unwrap();
    pool.wait_ready().unwrap();
    assert_eq!(pool.broadcast(table::Task, ()).unwrap().len(), setup.workers + 3);
    assert_eq!(pool.map(table::Task, [(); 100]).unwrap(), vec![expected; 100]);
    assert_eq!(runs.count(), 1);
}

#[pool_task]
fn check_table(text: &str) -> Result<(), String> {
    if TABLE.get().is_some_and(|(found, _)| found == text) { Ok(()) } else { Err("it is not there".to_owned()) }
}

struct Copy(String);

#[pool_state]
fn open() -> Result<Copy, String> {
    TABLE.get().map(|(text, _)| Copy(text.clone())).ok_or("it is not there".to_owned())
}

#[pool_task]
fn both(#[state] copy: &mut Copy) -> (String, String, u64) {
    copy.0.push('!');
    (
        copy.0.clone(),
        std::env::var("POOL_TEST_DEVICE").unwrap_or_default(),
        TABLE.get().map_or(0, |(_, pid)| (*pid).into()),
    )
}

fn it_comes_before_initializers_and_states(setup: &Setup) {
    let runs = Gate::new();
    let builder = setup.builder().preload(load::Task, ("a", runs.path())).initializer(check_table::Task, "a");
    let builder = builder.state(open::State, ()).finalizer(check_table::Task, "a");
    let pool = builder.worker_env("POOL_TEST_DEVICE", ["0", "1"]).max_tasks_per_worker(2).build().unwrap();
    let found = pool.map(both::Task.chunk_size(1), [(); 20]).unwrap();
    let server = u64::from(fork_server().pid);
    assert!(found.iter().all(|(text, device, pid)| {
        ["a!", "a!!"].contains(&text.as_str()) && ["0", "1"].contains(&device.as_str()) && *pid == server
    }));
    pool.close();
    pool.join().unwrap();
    assert_eq!((runs.count(), pool.insights().finalizer_failures), (1, 0));
}

static BYTES: OnceLock<Vec<u8>> = OnceLock::new();

const MIB: usize = 1 << 20;

#[pool_task]
fn fill(mib: usize) {
    BYTES.set(vec![7; mib * MIB]).expect("it is empty");
}

/// Reads a byte of each page of it.
#[pool_task]
fn add() -> u64 {
    BYTES.get().map_or(0, |bytes| pages(bytes))
}

fn pages(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(4096).map(|byte| u64::from(*byte)).sum()
}

/// Memory of these processes in MiB, where each page counts once, however many of them have it; see proc_pid_smaps(5).
fn memory_mib(pids: &[u32]) -> usize {
    let kib = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
    };
    pids.iter().map(kib).sum::<usize>() >> 10
}

fn its_memory_is_there_once(setup: &Setup) {
    let size = 64;
    let pool = setup.builder().preload(fill::Task, size).build().unwrap();
    let all_read_it = || {
        let sums = pool.broadcast(add::Task, ()).unwrap();
        let sums: BTreeSet<_> = sums.into_iter().map(Result::unwrap).collect();
        assert_eq!(sums, BTreeSet::from([(7 * size * MIB / 4096) as u64]));
        let mut pids = pool.worker_pids();
        pids.push(fork_server().pid);
        assert_eq!(pids.len(), setup.workers + 1);
        memory_mib(&pids)
    };
    // 576 MiB if each process had its own.
    let before = all_read_it();
    assert!((size..3 * size).contains(&before), "{before} MiB");
    for pid in pool.worker_pids() {
        kill_9(pid);
    }
    assert!(eventually(|| pool
        .insights()
        .workers
        .iter()
        .all(|worker| worker.incarnation == 1 && worker.pid.is_some())));
    pool.wait_ready().unwrap();
    let after = all_read_it();
    assert!((size..3 * size).contains(&after), "{after} MiB after {before}");
}

static SLICE: OnceLock<SharedSlice<u8>> = OnceLock::new();

#[pool_task]
fn fill_both(mib: usize) {
    BYTES.set(vec![7; mib * MIB]).expect("it is empty");
    SLICE.set(SharedVec::from_slice(&vec![7; mib * MIB]).and_then(SharedVec::freeze).unwrap()).expect("it is empty");
}

#[pool_task]
fn add_both(grow: usize) -> (u64, u32, usize) {
    let mine = std::hint::black_box(vec![1_u8; grow]);
    let slice = SLICE.get().map_or(0, |bytes| pages(bytes));
    // Longer than the pause between two looks at the memory.
    thread::sleep(Duration::from_millis(6));
    (add() + slice, std::process::id(), mine.len())
}

fn limits_of_workers_count_from_behind_it(setup: &Setup) {
    let builder = || setup.builder().preload(fill_both::Task, 64);
    let pool = builder().max_worker_rss(24 << 20).build().unwrap();
    let found = pool.map(add_both::Task.chunk_size(1), [0; 30]).unwrap();
    assert!(found.iter().all(|(sum, ..)| *sum == (2 * 7 * 64 * MIB / 4096) as u64));
    let pids: BTreeSet<_> = found.iter().map(|(_, pid, _)| *pid).collect();
    assert!(pids.len() <= setup.workers, "workers were replaced for memory that is not their own");
    drop(pool);
    // Neither does it spare a worker that has grown by itself.
    let pool = setup.builder().preload(fill::Task, 64).max_worker_rss(24 << 20).build().unwrap();
    let grow = |_| pool.apply(keep::Task, 40 << 20).unwrap();
    let pids: BTreeSet<_> = (0..5).map(grow).collect();
    assert_eq!(pids.len(), 5);
    drop(pool);
    let pool = builder().memory_limit(32 << 20).build().unwrap();
    assert_eq!(pool.apply(add_both::Task, 8 << 20).unwrap().2, 8 << 20);
    assert_eq!(pool.apply(allocate::Task, 256 << 20).unwrap_err().kind(), ErrorKind::MemoryLimit);
}

#[pool_task]
fn keep(bytes: usize) -> u32 {
    static KEPT: std::sync::Mutex<Vec<Vec<u8>>> = std::sync::Mutex::new(Vec::new());
    KEPT.lock().unwrap().push(vec![1; bytes]);
    thread::sleep(Duration::from_millis(6));
    std::process::id()
}

/// As C allocates, which says nothing on standard error.
#[pool_task]
fn allocate(bytes: usize) -> u8 {
    // SAFETY:
    // - `malloc` has no preconditions.
    let memory = unsafe { libc::malloc(bytes) }.cast::<u8>();
    // SAFETY:
    // - dying of a null pointer is the purpose. Else the memory is ours.
    unsafe { memory.write_volatile(7) };
    // SAFETY:
    // - as above.
    unsafe { memory.read_volatile() }
}

#[pool_task]
fn keep_args(bytes: Vec<u8>, slice: SharedSlice<u8>) {
    BYTES.set(bytes).expect("it is empty");
    SLICE.set(slice).expect("it is empty");
}

#[pool_task]
fn add_args(other: SharedSlice<u8>) -> (u64, u64, usize) {
    (add(), SLICE.get().map_or(0, |bytes| pages(bytes)), other.len())
}

fn large_arguments_and_arrays_reach_it(setup: &Setup) {
    let slice = SharedVec::from_slice(&vec![3_u8; 5 << 20]).unwrap().freeze().unwrap();
    let pool = setup.builder().preload(keep_args::Task, (vec![7; 9 << 20], slice.clone())).build().unwrap();
    let sums = (7 * (9 << 20) / 4096, 3 * (5 << 20) / 4096, 5 << 20);
    let found = pool.broadcast(add_args::Task, slice.clone()).unwrap();
    assert!(found.iter().all(|found| *found.as_ref().unwrap() == sums), "{found:?}");
    drop(slice);
    let other = SharedVec::from_slice(&[1_u8]).unwrap().freeze().unwrap();
    pool.worker_pids().into_iter().for_each(kill_9);
    assert_eq!(pool.apply(add_args::Task.retries(5), other).unwrap(), (sums.0, sums.1, 1));
}

#[pool_task]
fn use_random_numbers() {
    // Seeds the standard library's generator, which workers inherit.
    assert_eq!(HashMap::from([(1, 2)]).len(), 1);
}

#[pool_task]
fn seed() -> u64 {
    current_item().unwrap().seed
}

fn workers_draw_numbers_of_their_own_after_it(setup: &Setup) {
    let pool = setup.builder().preload(use_random_numbers::Task, ()).build().unwrap();
    let seeds: BTreeSet<_> = pool.broadcast(seed::Task, ()).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(seeds.len(), setup.workers);
}

#[pool_task]
fn survive_a_panic() {
    let caught = std::panic::catch_unwind(|| panic!("of the preload"));
    assert!(caught.is_err());
}

#[pool_task]
fn end(way: Way) {
    way.go()
}

fn panics_and_deaths_of_tasks_are_told_after_it(setup: &Setup) {
    let pool = setup.builder().preload(survive_a_panic::Task, ()).build().unwrap();
    let error = pool.apply(end::Task, Way::Panic).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(!error.to_string().contains("of the preload"), "{error}");
    let error = pool.apply(end::Task, Way::Abort).unwrap_err();
    assert!(error.to_string().contains("SIGABRT") && !error.to_string().contains("of the preload"), "{error}");
}

fn a_new_fork_server_runs_it_again(setup: &Setup) {
    let runs = Gate::new();
    let pool = setup.builder().preload(load::Task, ("words", runs.path())).build().unwrap();
    for round in 1..4 {
        let server = fork_server().pid;
        let expected = Some(("words".to_owned(), server));
        assert_eq!(pool.apply(table::Task.retries(3), ()).unwrap(), expected);
        assert_eq!(runs.count(), round);
        kill_9(server);
        assert!(eventually(|| runs.count() == round + 1));
        assert!(eventually(|| descendants()
            .iter()
            .any(|process| process.parent == std::process::id() && process.pid != server)));
    }
    assert_eq!(pool.map(table::Task, [(); 50]).unwrap().len(), 50);
}

#[pool_task]
fn load_or_fail(text: &str) -> Result<(), String> {
    TABLE.set((text.to_owned(), std::process::id())).map_err(|_| "it ran twice".to_owned())
}

fn in_the_process_it_runs_once_for_all_threads(setup: &Setup) {
    let builder = || setup.builder().in_process().preload(load_or_fail::Task, "words");
    let pool = builder().build().unwrap();
    assert_eq!(TABLE.get(), Some(&("words".to_owned(), std::process::id())));
    assert_eq!(pool.map(table::Task, [(); 50]).unwrap(), vec![TABLE.get().cloned(); 50]);
    drop(pool);
    let error = builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("the preload `it::preloads::load_or_fail` failed: it ran twice"), "{error}");
}
