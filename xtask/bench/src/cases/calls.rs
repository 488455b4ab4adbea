//! Single calls: how long one takes, how many there can be in a second.

use std::time::{Duration, Instant};

use super::row::{Better, Row, WORKERS, repeat};
use crate::contender::{Contender, Outcome, Refusal, check_sum};
use crate::options::Scale;

/// A blocking call of the trivial task, one after the other.
pub(super) fn latency(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    contender.open(WORKERS)?;
    settle(contender)?;
    let rows = rows("call_latency", contender.calls(scale.pick(2_000, 5_000), Duration::ZERO)?);
    contender.close()?;
    Ok(rows)
}

/// Calls for a while. Two processes that have just begun to answer each other often share a CPU: the scheduler parts them, if
/// there is another, after some ten milliseconds.
pub(super) fn settle(contender: &mut dyn Contender) -> Outcome<()> {
    const SETTLING: Duration = Duration::from_millis(200);
    let start = Instant::now();
    while start.elapsed() < SETTLING {
        contender.calls(500, Duration::ZERO)?;
    }
    Ok(())
}

/// The same with a millisecond's pause before each, in which both sides fall asleep.
pub(super) fn latency_idle(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    const PAUSE: Duration = Duration::from_millis(1);
    contender.open(WORKERS)?;
    contender.calls(20, PAUSE)?;
    let rows = rows("call_latency_idle", contender.calls(scale.pick(100, 500), PAUSE)?);
    contender.close()?;
    Ok(rows)
}

pub(super) fn rows(case: &str, mut times: Vec<Duration>) -> Vec<Row> {
    const QUANTILES: usize = 200;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e6;
    let row = |case: String, share: f64| Row::new(case, "µs", Better::Lower, at(share));
    let mut median = row(case.to_owned(), 0.5);
    median.quantiles = (0..=QUANTILES).map(|i| at(i as f64 / QUANTILES as f64)).collect();
    vec![median, row(format!("{case}_p99"), 0.99)]
}

/// Many trivial jobs submitted, then all results got.
pub(super) fn jobs_rate(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let count = scale.pick(10_000, 30_000);
    contender.open(WORKERS)?;
    let row = |case, time| Row::per_second(case, "jobs/s", count as f64, time);
    let time = repeat(scale, || check_sum(contender.jobs(count)?, increments(count)))?;
    let mut rows = vec![row("jobs_rate", time)];
    match repeat(scale, || check_sum(contender.jobs_in_scope(count)?, increments(count))) {
        Ok(time) => rows.push(row("jobs_rate_scope", time)),
        Err(Refusal::Unsupported) => {}
        Err(failed) => return Err(failed),
    }
    contender.close()?;
    Ok(rows)
}

/// The sum of the increments of 0, 1, and so on.
pub(super) fn increments(count: u64) -> u64 {
    count * (count + 1) / 2
}
