//! Workers killed at every machine instruction of a job, ends of a ring at every one of some messages; then the books are
//! checked.
//!
//! `cargo xtask kill-points [--points N|all]`. The exit code is 1 unless every item has ended exactly once, and whole.

use std::process::ExitCode;

/// All, unless there are more: then so many at even distances.
const POINTS_MAX: usize = 20_000;
/// The same for a map of wide items; its loops pass most places thousands of times before the chosen visit.
#[cfg(target_arch = "x86_64")]
const WIDE_POINTS_MAX: usize = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let points = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--points", "all"] => Some(POINTS_MAX),
        ["--points", points] => points.parse().ok().filter(|points| *points > 0),
        _ => None,
    };
    let Some(points) = points else {
        eprintln!("usage: kill_points [--points N|all]");
        return ExitCode::from(2);
    };
    run(points)
}

#[cfg(not(target_arch = "x86_64"))]
fn run(_: usize) -> ExitCode {
    eprintln!("left out: instructions are stepped on x86-64 only");
    ExitCode::SUCCESS
}

#[cfg(target_arch = "x86_64")]
fn run(points: usize) -> ExitCode {
    use tests::kill_points::{End, Scenario, When, kill_job, kill_ring, stop_job};
    if !tests::tracer::is_permitted() {
        return ExitCode::SUCCESS;
    }
    let mut is_clean = true;
    for (name, end) in [("a ring's producer", End::Producer), ("a ring's consumer", End::Consumer)] {
        is_clean &= part(name, || kill_ring(end, points));
    }
    let jobs = [
        ("a call", Scenario::Call, points),
        ("a call for which nobody waits", Scenario::Posted, points),
        ("a map of four items in one chunk", Scenario::Map, points),
        ("a map of wide items", Scenario::Wide, points.min(WIDE_POINTS_MAX)),
        ("a call with a long result", Scenario::Long, points),
        ("a call with an array each way", Scenario::Array, points),
        ("parts of an array written in place", Scenario::Parts, points),
        ("a call that reports", Scenario::Reports, points),
    ];
    for (name, scenario, points) in jobs {
        for workers in [1, 2] {
            is_clean &= part(&format!("{name}, workers: {workers}"), || kill_job(workers, scenario, points));
        }
    }
    is_clean &=
        part("a call with a limit, SIGSTOP after the claim", || stop_job(1, When::Claimed(points.clamp(2, 100))));
    is_clean &= part("a call with a limit, SIGSTOP before the claim", || stop_job(1, When::BeforeClaim));
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Seconds that a part may take, many times its usual time: then something hangs, and SIGALRM ends the program.
#[cfg(target_arch = "x86_64")]
const PART_SECONDS_MAX: u32 = 3600;

/// Reports a part; returns whether all is well.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::print_stdout, reason = "what it found is its output")]
fn part(name: &str, run: impl FnOnce() -> nix::Result<tests::kill_points::Ledger>) -> bool {
    nix::unistd::alarm::set(PART_SECONDS_MAX);
    let start = std::time::Instant::now();
    let ledger = run();
    let seconds = start.elapsed().as_secs();
    match ledger {
        Ok(ledger) => {
            println!("{name} ({seconds} s)\n  {ledger}");
            ledger.is_clean()
        }
        Err(error) => {
            println!("{name}: {error}");
            false
        }
    }
}
