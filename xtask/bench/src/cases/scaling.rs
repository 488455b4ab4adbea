//! More workers than CPUs; more jobs than anybody should have waiting.

use super::calls::increments;
use super::row::{Better, Row};
use crate::contender::{Contender, Outcome, Refusal, check_sum};
use crate::data::Work;
use crate::options::Scale;

pub(super) fn all(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    let mut rows = workers(contender, scale)?;
    match pending(contender) {
        Ok(more) => rows.extend(more),
        Err(Refusal::Unsupported) => {}
        Err(failed) => return Err(failed),
    }
    Ok(rows)
}

fn workers(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    const TIME_US: f64 = 10.0;
    let items = scale.pick(4_000, 20_000);
    let work = Work::new(vec![TIME_US; items], scale.steps_per_us);
    let mut rows = Vec::new();
    for workers in [1, 2, 4, 8, 16] {
        contender.open(workers)?;
        contender.work(&work)?;
        let time = contender.work(&work)?.parallel;
        contender.close()?;
        rows.push(Row::per_second(&format!("scaling_{workers}"), "items/s", items as f64, time));
    }
    Ok(rows)
}

/// The time and memory of a job that waits behind so many others: to submit it, and to get its result.
fn pending(contender: &mut dyn Contender) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        contender.open(super::row::WORKERS)?;
        // Warm: the process does not grow by memory that it has allocated before.
        check_sum(contender.jobs(1_000)?, increments(1_000))?;
        let pending = contender.pending(count)?;
        let time = check_sum(pending.timed, increments(count))?;
        contender.close()?;
        let each = |total: f64| total / count as f64;
        rows.push(Row::new(format!("pending_{count}"), "ns/job", Better::Lower, each(time.as_secs_f64() * 1e9)));
        if count >= 100_000 {
            let bytes = each(pending.bytes as f64);
            rows.push(Row::new(format!("pending_{count}_bytes"), "bytes/job", Better::Lower, bytes));
        }
    }
    Ok(rows)
}
