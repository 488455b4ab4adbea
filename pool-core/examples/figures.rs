//! Prints what things cost here: `cargo run --release -p pool-core --example figures`.
//!
//! Medians of several rounds, for a pool of two workers. For comparisons with other pools, measure them in the same run on
//! the same machine.

use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use pool_core::prelude::*;

#[pool_task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[pool_task]
fn echo(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[pool_task]
fn spin(nanoseconds: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_nanos(nanoseconds) {
        std::hint::spin_loop();
    }
}

#[pool_task]
fn crash() {
    std::process::abort();
}

/// The median time of a round, of `rounds`, after one that does not count.
fn median(rounds: usize, mut round: impl FnMut() -> pool_core::Result<()>) -> pool_core::Result<Duration> {
    round()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        round()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[rounds / 2])
}

fn per_second(count: f64, time: Duration) -> f64 {
    count / time.as_secs_f64()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = &mut io::stdout().lock();

    let create = median(20, || Pool::new(2)?.apply(square::Task, 1).map(drop))?;
    writeln!(out, "pool of 2 made, first result, pool gone      {create:>12.1?}")?;

    let pool = Pool::new(2)?;
    const CALLS: u32 = 10_000;
    let calls = median(9, || (0..CALLS).try_for_each(|x| pool.apply(square::Task, x.into()).map(drop)))?;
    writeln!(out, "blocking call, workers awake                 {:>12.1?}", calls / CALLS)?;

    let mut idle = Vec::new();
    for x in 0..500 {
        std::thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        pool.apply(square::Task, x)?;
        idle.push(start.elapsed());
    }
    idle.sort();
    writeln!(out, "blocking call after a pause of 1 ms          {:>12.1?}", idle[250])?;

    const JOBS: u64 = 100_000;
    let jobs = median(9, || {
        let jobs = (0..JOBS).map(|x| pool.apply_async(square::Task, x)).collect::<pool_core::Result<Vec<_>>>()?;
        jobs.into_iter().try_for_each(|job| job.get().map(drop))
    })?;
    writeln!(out, "100,000 jobs submitted, then all got         {:>12.2} million/s", per_second(0.1, jobs))?;

    let map = median(9, || pool.map(square::Task, 0..1_000_000).map(|squares| drop(black_box(squares))))?;
    writeln!(out, "map of 1,000,000 u64                         {:>12.0} million/s", per_second(1.0, map))?;

    let work = median(3, || pool.map(spin::Task, (0..20_000).map(|_| 10_000)).map(drop))?;
    let efficiency = 20_000.0 * 10e-6 / 2.0 / work.as_secs_f64();
    writeln!(out, "map of 20,000 items of 10 µs, efficiency     {:>12.0} %", 100.0 * efficiency)?;

    let bytes = vec![7; 8 << 20];
    let echo = median(9, || pool.apply(echo::Task, &bytes).map(|same| assert!(same.len() == bytes.len())))?;
    writeln!(out, "8 MiB there and back                         {:>12.2} GB/s", per_second(2.0 * 8.39e-3, echo))?;

    let crash = median(20, || {
        assert_eq!(pool.apply(crash::Task, ()).unwrap_err().kind(), ErrorKind::WorkerDied);
        Ok(())
    })?;
    writeln!(out, "a task that aborts, until its error is there {crash:>12.1?}")?;
    Ok(())
}
