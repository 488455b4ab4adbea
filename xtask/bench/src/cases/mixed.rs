//! Short calls and short maps beside long maps: how long they wait for their turn.

use std::time::Duration;

use super::calls::rows;
use super::row::{Row, WORKERS};
use crate::contender::{Contender, Item, Outcome};
use crate::options::Scale;

/// A trivial call now and then, while a map of items of a microsecond keeps all workers busy.
pub(super) fn call(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let items = vec![Item::Work(scale.steps_per_us.round() as u64); 1_000_000];
    contender.open(WORKERS)?;
    let times = contender.calls_beside(scale.pick(100, 300), Duration::from_millis(1), &items)?;
    contender.close()?;
    Ok(rows("mixed_call", times))
}

/// The longest that a call waits beside a map of items that sleep for 10 ms.
pub(super) fn fair_call(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    const CALLS: u64 = 20;
    let items = [Item::SleepMs(10); 300];
    contender.open(WORKERS)?;
    let times = contender.calls_beside(scale.pick(CALLS / 4, CALLS), Duration::from_millis(30), &items)?;
    contender.close()?;
    Ok(vec![Row::milliseconds("fair_call", times.into_iter().max().unwrap_or_default())])
}

/// A map of two items that comes while a map of 150 is under way, all of which sleep for 10 ms.
pub(super) fn fair_map(contender: &mut dyn Contender, _: Scale) -> Outcome<Vec<Row>> {
    contender.open(WORKERS)?;
    let (short, long) = contender.map_beside(&[Item::SleepMs(10); 150], Duration::from_millis(100))?;
    contender.close()?;
    Ok(vec![Row::milliseconds("fair_map", short), Row::milliseconds("fair_map_long", long)])
}
