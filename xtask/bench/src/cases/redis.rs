//! Items that run beyond a Redis server.

use std::time::Duration;

use super::calls::{self, increments};
use super::row::{Row, WORKERS, repeat};
use crate::contender::{Contender, Item, Outcome, check_sum};
use crate::options::Scale;

/// A blocking call of the trivial task, one after the other.
pub(super) fn call(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    contender.open_far(WORKERS)?;
    // Connections, scripts and the pace of the task are new to the first ones.
    contender.calls(200, Duration::ZERO)?;
    let rows = calls::rows("redis_call", contender.calls(scale.pick(3_000, 10_000), Duration::ZERO)?);
    contender.close()?;
    Ok(rows)
}

/// A map of a million numbers.
pub(super) fn numbers(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let numbers: Vec<u64> = (0..1_000_000).collect();
    let count = numbers.len() as u64;
    contender.open_far(WORKERS)?;
    let time = repeat(scale, || check_sum(contender.map_numbers(&numbers)?, increments(count)))?;
    contender.close()?;
    Ok(vec![Row::per_second("redis_map_u64", "items/s", count as f64, time)])
}

/// Items that sleep for a millisecond each.
pub(super) fn naps(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let items = vec![Item::SleepMs(1); scale.pick(500, 2_000)];
    let count = items.len() as u64;
    contender.open_far(WORKERS)?;
    let time = repeat(scale, || check_sum(contender.map_items(&items)?, count))?;
    contender.close()?;
    Ok(vec![Row::per_second("redis_items_1ms", "items/s", count as f64, time)])
}
