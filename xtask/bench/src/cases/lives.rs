//! How pools and workers come and go.

use std::time::Duration;

use super::row::{Row, WORKERS};
use crate::contender::{Contender, Outcome, Refusal};
use crate::options::Scale;
use crate::procs;
use crate::timing::timed;

pub(super) fn create_2(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let (open, _) = life(contender, scale, WORKERS)?;
    Ok(vec![Row::milliseconds("create_2", open)])
}

pub(super) fn create_32(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let (open, _) = life(contender, scale, 32)?;
    Ok(vec![Row::milliseconds("create_32", open)])
}

pub(super) fn close_32(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let (_, close) = life(contender, scale, 32)?;
    Ok(vec![Row::milliseconds("close_32", close)])
}

/// Medians of opening and of closing; the first time does not count, it warms up.
fn life(contender: &mut dyn Contender, scale: Scale, workers: usize) -> Outcome<(Duration, Duration)> {
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    for _ in 0..=scale.pick(1, 5) {
        opened.push(contender.open(workers)?);
        closed.push(contender.close()?);
    }
    let median = |mut times: Vec<Duration>| {
        times.remove(0);
        times.sort_unstable();
        times[times.len() / 2]
    };
    Ok((median(opened), median(closed)))
}

/// From the kill of the only worker to the first result of another. Once: workers that die again and again may be
/// replaced later and later, and rightly.
pub(super) fn respawn(contender: &mut dyn Contender, _: Scale) -> Outcome<Vec<Row>> {
    contender.open(1)?;
    let victim = contender.worker_pid()?;
    procs::kill(victim);
    let (time, successor) = timed(|| contender.successor_pid());
    if successor? == victim {
        return Err(Refusal::Failed("a process that was killed gave a result".to_owned()));
    }
    contender.close()?;
    Ok(vec![Row::milliseconds("respawn", time)])
}
