//! Maps of items without work: the cost of transport.

use super::calls::increments;
use super::row::{Row, WORKERS, repeat};
use crate::contender::{Contender, Outcome, check_sum};
use crate::data::{Record, sum, touch};
use crate::options::Scale;
use crate::timing::Timed;

pub(super) fn numbers(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let numbers: Vec<u64> = (0..1_000_000).collect();
    rate("map_u64", contender, scale, numbers.len() as u64, |contender| contender.map_numbers(&numbers))
}

pub(super) fn singly(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let numbers: Vec<u64> = (0..scale.pick(20_000, 30_000)).collect();
    rate("map_chunk1", contender, scale, numbers.len() as u64, |contender| contender.map_numbers_singly(&numbers))
}

pub(super) fn lazily(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let count = scale.pick(20_000, 100_000);
    rate("imap_u64", contender, scale, count, |contender| contender.imap_numbers(count))
}

/// The reports of one item, and as many results of a lazy map.
pub(super) fn reports(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let count = scale.pick(200_000, 500_000);
    let mut rows = rate("reports", contender, scale, count, |contender| contender.reports(count))?;
    rows.extend(rate("reports_imap", contender, scale, count, |contender| contender.imap_numbers(count))?);
    Ok(rows)
}

fn rate(
    case: &str,
    contender: &mut dyn Contender,
    scale: Scale,
    count: u64,
    mut measure: impl FnMut(&mut dyn Contender) -> Outcome<Timed>,
) -> Outcome<Vec<Row>> {
    contender.open(WORKERS)?;
    let time = repeat(scale, || check_sum(measure(contender)?, increments(count)))?;
    contender.close()?;
    Ok(vec![Row::per_second(case, "items/s", count as f64, time)])
}

pub(super) fn records(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let records = Record::many(100_000);
    let expected = sum(records.iter().cloned().map(|record| touch(record).digest()));
    contender.open(WORKERS)?;
    let time = repeat(scale, || check_sum(contender.map_records(records.clone())?, expected))?;
    contender.close()?;
    Ok(vec![Row::per_second("map_struct", "items/s", records.len() as f64, time)])
}
