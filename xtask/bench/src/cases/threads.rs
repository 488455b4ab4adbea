//! Several threads that use one pool at once.

use super::calls::increments;
use super::row::{Row, WORKERS, repeat};
use crate::contender::{BATCH, Contender, Outcome, check_sum};
use crate::options::Scale;
use crate::timing::Timed;

pub(super) fn calls_1(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    calls("call_threads_1", 1, contender, scale)
}

pub(super) fn calls_2(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    calls("call_threads_2", 2, contender, scale)
}

pub(super) fn calls_8(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    calls("call_threads_8", 8, contender, scale)
}

pub(super) fn calls_64(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    calls("call_threads_64", 64, contender, scale)
}

/// Blocking calls of the trivial task.
fn calls(case: &str, threads: u64, contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let each = scale.pick(8_000, 32_000) / threads;
    rate(case, "calls/s", threads, each, contender, scale, |contender| contender.call_threads(threads as usize, each))
}

pub(super) fn jobs_1(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    jobs("jobs_threads_1", 1, contender, scale)
}

pub(super) fn jobs_8(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    jobs("jobs_threads_8", 8, contender, scale)
}

/// Jobs that are submitted some at a time, and then got.
fn jobs(case: &str, threads: u64, contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let each = scale.pick(100, 1_000) * BATCH / threads / BATCH * BATCH;
    rate(case, "jobs/s", threads, each, contender, scale, |contender| contender.job_threads(threads as usize, each))
}

fn rate(
    case: &str,
    unit: &str,
    threads: u64,
    each: u64,
    contender: &mut dyn Contender,
    scale: Scale,
    mut measure: impl FnMut(&mut dyn Contender) -> Outcome<Timed>,
) -> Outcome<Vec<Row>> {
    contender.open(WORKERS)?;
    let time = repeat(scale, || check_sum(measure(contender)?, threads * increments(each)))?;
    contender.close()?;
    Ok(vec![Row::per_second(case, unit, (threads * each) as f64, time)])
}
