//! Arrays that all workers read, or write in place.

use super::calls::{rows, settle};
use super::row::{Row, WORKERS, repeat};
use crate::contender::{Contender, Outcome, check_sum};
use crate::options::Scale;

/// Elements of a part: 1 MiB.
const PART: usize = 1 << 17;

/// The sum of 1 GiB of numbers.
pub(super) fn sum(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let len = scale.pick(128 << 20, 1 << 30) / size_of::<f64>();
    contender.open(WORKERS)?;
    contender.hold(len)?;
    let expected = len as u64;
    let time = repeat(scale, || check_sum(contender.sum_held(PART)?, expected))?;
    contender.close()?;
    Ok(vec![Row::per_second("array_sum", "GB/s", (len * size_of::<f64>()) as f64 / 1e9, time)])
}

/// The square root of each of as many, in place.
pub(super) fn sqrt(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let len = scale.pick(128 << 20, 1 << 30) / size_of::<f64>();
    contender.open(WORKERS)?;
    contender.hold(len)?;
    // Each part says how many elements it has.
    let time = repeat(scale, || check_sum(contender.sqrt_held(PART)?, len as u64))?;
    contender.close()?;
    Ok(vec![Row::per_second("array_sqrt", "items/s", len as f64, time)])
}

/// The squares of a million integers, in place; caches hold these.
pub(super) fn squares(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    const LEN: usize = 1_000_000;
    contender.open(WORKERS)?;
    contender.hold_numbers(LEN)?;
    let time = repeat(scale, || check_sum(contender.square_held(PART)?, LEN as u64))?;
    contender.close()?;
    Ok(vec![Row::per_second("array_squares", "items/s", LEN as f64, time)])
}

/// A blocking call with a part of an array that the worker knows; `call_latency` is one without.
pub(super) fn call(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    contender.open(WORKERS)?;
    contender.hold(PART)?;
    settle(contender)?;
    contender.calls_with_held(100)?;
    let rows = rows("array_call", contender.calls_with_held(scale.pick(2_000, 5_000))?);
    contender.close()?;
    Ok(rows)
}
