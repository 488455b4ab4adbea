//! When a worker dies: before it has taken a job, before it has begun it, in it, with its answer half told, or with its
//! answer told and nobody there to hear it.
//!
//! With large arguments or results, so that the rings are full, and with small ones.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::{fs, thread};

use nix::sys::signal::{Signal, raise};
use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::bomb::ballast;
use tests::gate::{Gate, count, open_and_hang};
use tests::host::{Host, say, say_pids};
use tests::procs::{self, eventually, is_alive, kill_9};
use tests::trial::{Check, Setup, each_method, program};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_job_that_was_not_taken_runs_once_elsewhere).workers(&[1, 3]),
        each_method(a_job_that_was_not_begun_runs_once_elsewhere).workers(&[1, 3]),
        each_method(a_job_that_was_begun_is_tried_again_if_it_may_be).workers(&[1, 3]),
        each_method(results_that_nobody_has_heard_yet_count).workers(&[1]),
        each_method(workers_that_die_with_full_rings_have_run_each_item_once).workers(&[1, 3]),
        program(is_deaf_for_a_while),
        program(is_deaf_for_long),
    ]
}

/// Little, and so much that a ring holds only a few.
const SIZES: [usize; 2] = [1, 20 << 10];
/// Likewise of results that a ring must hold which its host, being deaf, does not let grow.
const UNHEARD_SIZES: [usize; 2] = [1, 10 << 10];

#[pool_task]
fn count_and_measure(calls: &str, bytes: &[u8]) -> usize {
    count(calls);
    bytes.len()
}

/// Calls and a map that wait behind the workers' backs; all workers are killed before they begin any of it.
fn assert_each_runs_once(pool: &Pool, size: usize) {
    let (bytes, gate) = (ballast(size), Gate::new());
    let pids = pool.worker_pids();
    let submit = |_| pool.apply_async(count_and_measure::Task, (gate.path(), &bytes[..])).unwrap();
    let calls: Vec<_> = (0..30).map(submit).collect();
    let map = pool.map_async(count_and_measure::Task, [(gate.path(), &bytes[..]); 60]).unwrap();
    assert_eq!(gate.count(), 0);
    pids.into_iter().for_each(kill_9);
    assert!(calls.into_iter().all(|job| job.get().unwrap() == size));
    assert_eq!(map.get().unwrap(), [size; 60]);
    assert_eq!(gate.count(), 90);
}

fn is_stopped(pid: u32) -> bool {
    procs::threads_of(pid).all(|thread| thread.state == 'T')
}

fn a_job_that_was_not_taken_runs_once_elsewhere(setup: &Setup) {
    for size in SIZES {
        let pool = setup.pool();
        let pids = pool.worker_pids();
        pids.iter().for_each(|pid| procs::signal(*pid, Signal::SIGSTOP));
        assert!(eventually(|| pids.iter().all(|pid| is_stopped(*pid))));
        assert_each_runs_once(&pool, size);
        assert_eq!(pool.stats().items_failed, 0);
        drop(pool);
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
}

fn a_job_that_was_not_begun_runs_once_elsewhere(setup: &Setup) {
    let pool = setup.pool();
    for size in SIZES {
        let pids = pool.worker_pids();
        let gates: Vec<_> = (0..setup.workers).map(|_| Gate::new()).collect();
        let hang = |gate: &Gate| pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
        let running: Vec<_> = gates.iter().map(hang).collect();
        gates.iter().for_each(Gate::wait);
        assert_each_runs_once(&pool, size);
        for job in running {
            let error = job.get().unwrap_err();
            assert!(error.to_string().contains("killed by signal 9 (SIGKILL), "), "{error}");
            assert!(pids.contains(&error.worker_pid().unwrap()), "{error}");
        }
        assert!(eventually(|| pool.worker_pids().len() == setup.workers));
    }
}

/// Hangs the first time.
#[pool_task]
fn hang_once(calls: &str) -> usize {
    match count(calls) {
        0 => loop {
            thread::sleep(Duration::from_secs(1));
        },
        before => before,
    }
}

fn a_job_that_was_begun_is_tried_again_if_it_may_be(setup: &Setup) {
    let pool = setup.pool();
    let gates: Vec<_> = (0..setup.workers).map(|_| Gate::new()).collect();
    let submit = |gate: &Gate| pool.apply_async(hang_once::Task.retries(1), gate.path()).unwrap();
    let jobs: Vec<_> = gates.iter().map(submit).collect();
    assert!(eventually(|| gates.iter().all(|gate| gate.count() == 1)));
    pool.worker_pids().into_iter().for_each(kill_9);
    assert!(jobs.into_iter().all(|job| job.get().unwrap() == 1));
    assert!(gates.iter().all(|gate| gate.count() == 2));
}

// ---- with a host that hears nothing --------------------------------------------------------------------------------

/// Says where its tasks may find a gate, and stops itself when as many as there are workers wait for it.
fn be_deaf(pool: &Pool, gate: &Gate, calls: &Gate, workers: usize) {
    assert!(eventually(|| calls.count() == workers));
    say(gate.path());
    say(calls.path());
    say_pids(&pool.worker_pids());
    raise(Signal::SIGSTOP).unwrap();
}

/// Opens the gate to a host that hears nothing, kills its workers when `is_time`, and lets it hear the news.
fn kill_unheard(host: &mut Host, is_time: impl Fn(&Path) -> bool) {
    let (gate, calls, pids) = (host.line(), host.line(), host.pids());
    assert!(eventually(|| is_stopped(host.pid())));
    fs::write(gate, "").unwrap();
    assert!(eventually(|| is_time(Path::new(&calls))));
    pids.iter().copied().for_each(kill_9);
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))));
    host.signal(Signal::SIGCONT);
}

fn assert_went_well(host: Host) {
    let (status, stderr) = host.wait();
    assert_eq!((status.code(), status.signal(), stderr.as_str()), (Some(0), None, ""));
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Step {
    /// Waits for the gate, and has a result of so many bytes.
    Answer(usize),
    /// Never ends.
    Hang,
}

#[pool_task]
fn step(step: Step, gate: &str, calls: &str) -> Vec<u8> {
    count(calls);
    match step {
        Step::Answer(bytes) => {
            tests::gate::pass(gate);
            ballast(bytes)
        }
        Step::Hang => loop {
            thread::sleep(Duration::from_secs(1));
        },
    }
}

/// The worker ends one item and begins another.
fn is_deaf_for_a_while(setup: &Setup) {
    let pool = setup.pool();
    for size in UNHEARD_SIZES {
        let (gate, calls) = (Gate::new(), Gate::new());
        let items = [Step::Answer(size), Step::Hang].map(|step| (step, gate.path(), calls.path()));
        let results = thread::scope(|scope| {
            let map = scope.spawn(|| pool.map_results(step::Task.chunk_size(2), items).unwrap());
            be_deaf(&pool, &gate, &calls, setup.workers);
            map.join().unwrap()
        });
        for (item, result) in results.into_iter().enumerate() {
            match result {
                Ok(bytes) => assert!(item % 2 == 0 && bytes == ballast(size), "item {item}"),
                Err(error) => assert_eq!((error.kind(), item % 2), (ErrorKind::WorkerDied, 1), "{error}"),
            }
        }
        assert!(eventually(|| pool.worker_pids().len() == setup.workers));
    }
}

fn results_that_nobody_has_heard_yet_count(setup: &Setup) {
    let mut host = Host::start(is_deaf_for_a_while, setup);
    for _ in UNHEARD_SIZES {
        kill_unheard(&mut host, |calls| fs::read(calls).is_ok_and(|bytes| bytes.len() == 2 * setup.workers));
    }
    assert_went_well(host);
}

/// More results than the rings have room for.
fn is_deaf_for_long(setup: &Setup) {
    const ITEMS: usize = 100;
    let pool = setup.pool();
    let (gate, calls) = (Gate::new(), Gate::new());
    let items = (0..ITEMS * setup.workers).map(|_| (Step::Answer(8 << 10), gate.path(), calls.path()));
    let results = thread::scope(|scope| {
        let map = scope.spawn(|| pool.map_results(step::Task.chunk_size(ITEMS), items).unwrap());
        be_deaf(&pool, &gate, &calls, setup.workers);
        map.join().unwrap()
    });
    assert_eq!((results.len(), calls.count()), (ITEMS * setup.workers, ITEMS * setup.workers));
    let failed = results.iter().filter_map(|result| result.as_ref().err());
    assert!(failed.clone().count() <= setup.workers, "{:?}", failed.collect::<Vec<_>>());
    assert!(results.iter().flatten().all(|bytes| *bytes == ballast(8 << 10)));
}

fn workers_that_die_with_full_rings_have_run_each_item_once(setup: &Setup) {
    let mut host = Host::start(is_deaf_for_long, setup);
    kill_unheard(&mut host, |calls| {
        // They run no more when they wait for room.
        let count = || fs::read(calls).map_or(0, |bytes| bytes.len());
        let before = count();
        thread::sleep(Duration::from_millis(300));
        before > setup.workers && before == count()
    });
    assert_went_well(host);
}
