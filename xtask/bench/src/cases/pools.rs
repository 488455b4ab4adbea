//! Fresh pools and large pools, beside a warm pool of two.

use std::time::Duration;

use super::calls::increments;
use super::row::{Better, Row, WORKERS, repeat};
use crate::contender::{Contender, Outcome, check_sum};
use crate::options::Scale;

/// Workers of a large pool.
const MANY: usize = 64;

/// Fresh pools of which the median is taken.
const POOLS: usize = 5;

fn numbers() -> Vec<u64> {
    (0..1_000_000).collect()
}

/// The time of the first map in a pool, beside a warm one.
pub(super) fn first_map(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let (first, warm) = maps(contender, scale, WORKERS)?;
    let ratio = first.as_secs_f64() / warm.as_secs_f64();
    Ok(vec![Row::milliseconds("first_map", first), Row::new("first_map_beside_warm", "×", Better::Lower, ratio)])
}

/// The time of maps in a large pool, the first and a warm one, beside a warm one of two workers.
pub(super) fn map_workers_64(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let (_, two) = maps(contender, scale, WORKERS)?;
    let (first, warm) = maps(contender, scale, MANY)?;
    let beside_two = |case, time: Duration| Row::new(case, "×", Better::Lower, time.as_secs_f64() / two.as_secs_f64());
    Ok(vec![
        Row::per_second("map_workers_64", "items/s", numbers().len() as f64, warm),
        beside_two("map_workers_64_beside_2", warm),
        beside_two("map_workers_64_first_beside_2", first),
    ])
}

/// Medians of the first map in fresh pools, and of maps in the last of them.
fn maps(contender: &mut dyn Contender, scale: Scale, workers: usize) -> Outcome<(Duration, Duration)> {
    let numbers = numbers();
    let map =
        |contender: &mut dyn Contender| check_sum(contender.map_numbers(&numbers)?, increments(numbers.len() as u64));
    let mut firsts = Vec::new();
    for pool in 0..POOLS {
        if pool > 0 {
            contender.close()?;
        }
        contender.open(workers)?;
        firsts.push(map(contender)?);
    }
    let warm = repeat(scale, || map(contender))?;
    contender.close()?;
    firsts.sort_unstable();
    Ok((firsts[POOLS / 2], warm))
}

/// The time of a blocking call in a large pool, beside one in a pool of two.
pub(super) fn call_workers_64(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let (two, many) = (call(contender, scale, WORKERS)?, call(contender, scale, MANY)?);
    Ok(vec![
        Row::new("call_workers_64", "µs", Better::Lower, many.as_secs_f64() * 1e6),
        Row::new("call_workers_64_beside_2", "×", Better::Lower, many.as_secs_f64() / two.as_secs_f64()),
    ])
}

fn call(contender: &mut dyn Contender, scale: Scale, workers: usize) -> Outcome<Duration> {
    contender.open(workers)?;
    super::calls::settle(contender)?;
    let mut times = contender.calls(scale.pick(2_000, 5_000), Duration::ZERO)?;
    contender.close()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
