//! From `kill -9` of a worker until its job's error, and until its successor has done something.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pool_core::{ErrorKind, Pool, pool_task};
use tests::gate::Gate;
use tests::procs::kill_9;
use tests::tasks::square;

use crate::options::Size;
use crate::table::Row;

/// Touches so much memory, opens the gate, and never ends.
#[pool_task]
fn hold(bytes: u64, gate: &str) {
    let held = black_box(vec![1u8; bytes as usize]);
    std::fs::write(gate, "").expect("a file in the temporary directory");
    loop {
        std::thread::sleep(Duration::from_secs(1));
        black_box(&held);
    }
}

/// Mebibytes that the worker holds, and runs of each size. The kernel takes a process's memory apart before anybody,
/// its parent included, can see that it is dead, so a large worker dies slowly.
const SIZES: [(u64, [usize; 3]); 5] =
    [(0, [3, 30, 300]), (64, [1, 10, 30]), (256, [0, 5, 20]), (1024, [0, 3, 10]), (2048, [0, 0, 5])];

pub(crate) fn run(size: Size) -> Vec<Row> {
    SIZES.into_iter().flat_map(|(mebibytes, runs)| of_size(mebibytes, size.of(runs))).collect()
}

fn of_size(mebibytes: u64, runs: usize) -> Vec<Row> {
    if runs == 0 {
        return Vec::new();
    }
    let what = if mebibytes == 0 { "a small worker".to_owned() } else { format!("one that holds {mebibytes} MiB") };
    // The old one may still be there when its successor comes.
    if available_mebibytes().is_some_and(|available| available < 2 * mebibytes + 512) {
        eprintln!("{what}: left out, there is too little memory");
        return Vec::new();
    }
    let pool = Pool::new(1).expect("a pool");
    let (mut errors, mut successors) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let gate = Gate::new();
        let job = pool.apply_async(hold::Task, (mebibytes << 20, gate.path())).expect("an open pool");
        gate.wait();
        let victim = pool.worker_pids()[0];
        let start = Instant::now();
        kill_9(victim);
        let error = job.get().expect_err("it was killed");
        errors.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        assert_eq!(pool.apply(square::Task, 3).expect("a successor"), 9);
        successors.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let error = Row::new(format!("`kill -9` of {what}, until its job's error"), "ms", errors);
    let error = if mebibytes == 0 { error.median_max(5.0) } else { error };
    vec![error, Row::new(format!("`kill -9` of {what}, until the next has done a job"), "ms", successors)]
}

fn available_mebibytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes >> 10)
}
