//! Maps of items with work: the share of the CPUs' time that the work gets. 1 is all of it.

use super::row::{Better, Row, WORKERS, cpus};
use crate::contender::{Contender, Outcome};
use crate::data::{Work, skewed_times};
use crate::options::Scale;

pub(super) fn of_1us(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    even("work_1us", 1.0, contender, scale)
}

pub(super) fn of_10us(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    even("work_10us", 10.0, contender, scale)
}

pub(super) fn of_100us(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    even("work_100us", 100.0, contender, scale)
}

pub(super) fn of_1ms(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    even("work_1ms", 1000.0, contender, scale)
}

fn even(case: &str, time_us: f64, contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let total_us = scale.pick(60e3, 250e3);
    efficiency(case, vec![time_us; (total_us / time_us) as usize], contender, scale)
}

pub(super) fn skewed(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    efficiency("skewed", skewed_times(scale.pick(8_000, 20_000)), contender, scale)
}

const RUNS: usize = 3;

fn efficiency(case: &str, times_us: Vec<f64>, contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let work = Work::new(times_us, scale.steps_per_us);
    contender.open(WORKERS)?;
    contender.work(&work)?;
    let mut shares = Vec::new();
    // One run alone would be decided by a neighbour's burst on a shared machine.
    for _ in 0..RUNS {
        let times = contender.work(&work)?;
        let most = WORKERS.min(cpus()) as f64;
        shares.push(times.serial.as_secs_f64() / (times.parallel.as_secs_f64() * most));
    }
    contender.close()?;
    shares.sort_by(f64::total_cmp);
    Ok(vec![Row::new(case, "of ideal", Better::Higher, shares[shares.len() / 2])])
}
