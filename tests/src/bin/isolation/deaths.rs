//! From `kill -9` of a worker until its job's error, and until its successor has done something.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pool_core::{ErrorKind, Pool, pool_task};
use tests::gate::Gate;
use tests::procs::{SOON, kill_9, pid_fd, wait_until_gone};
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

/// Milliseconds.
#[derive(Default)]
struct Times {
    /// From the kill to the job's error.
    errors: Vec<f64>,
    /// From the kill to a successor's first result.
    successors: Vec<f64>,
    /// From the moment in which the kernel shows the death to the job's error: the time that the pool adds.
    lags: Vec<f64>,
}

pub(crate) fn run(size: Size) -> Vec<Row> {
    let (mut rows, mut lags) = (Vec::new(), Vec::new());
    for (mebibytes, runs) in SIZES {
        let times = of_size(mebibytes, size.of(runs));
        let what = if mebibytes == 0 { "a small worker".to_owned() } else { format!("a worker of {mebibytes} MiB") };
        if times.errors.is_empty() {
            continue;
        }
        let error = Row::new(format!("`kill -9` of {what}, until its job's error"), "ms", times.errors);
        if mebibytes == 0 {
            let next = format!("`kill -9` of {what}, until the next has done a job");
            rows.extend([error.median_max(5.0), Row::new(next, "ms", times.successors)]);
        } else {
            rows.push(error);
        }
        lags.extend(times.lags);
    }
    rows.push(Row::new("the kernel shows a worker's death, until its job's error", "ms", lags));
    rows
}

fn of_size(mebibytes: u64, runs: usize) -> Times {
    let mut times = Times::default();
    // The old one may still be there when its successor comes.
    if runs > 0 && available_mebibytes().is_some_and(|available| available < 2 * mebibytes + 512) {
        eprintln!("a worker of {mebibytes} MiB: left out, there is too little memory");
        return times;
    }
    let pool = Pool::new(1).expect("a pool");
    for run in 0..2 * runs {
        let gate = Gate::new();
        let job = pool.apply_async(hold::Task, (mebibytes << 20, gate.path())).expect("an open pool");
        gate.wait();
        let victim = pool.worker_pids()[0];
        let fd = [pid_fd(victim).expect("it runs")];
        let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        let mut start = Instant::now();
        kill_9(victim);
        if run % 2 == 1 {
            assert!(wait_until_gone(&fd, SOON), "{victim} lives on");
            start = Instant::now();
        }
        let error = job.get().expect_err("it was killed");
        let lists = if run % 2 == 1 { &mut times.lags } else { &mut times.errors };
        lists.push(milliseconds(start));
        assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
        assert_eq!(pool.apply(square::Task, 3).expect("a successor"), 9);
        if run % 2 == 0 {
            times.successors.push(milliseconds(start));
        }
    }
    times
}

fn available_mebibytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes >> 10)
}
