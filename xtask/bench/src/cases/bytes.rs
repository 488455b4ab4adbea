//! Bytes there and back, as the task's owned argument and result.

use super::{Row, WORKERS, repeat};
use crate::contender::{Contender, Outcome, Refusal};
use crate::options::Scale;

pub(super) fn of_8mib(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    echo("bytes_8mib", contender, scale, 8 << 20)
}

pub(super) fn of_64k(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    echo("bytes_64k", contender, scale, 64 << 10)
}

fn echo(case: &str, contender: &mut dyn Contender, scale: Scale, len: usize) -> Outcome<Vec<Row>> {
    let original: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    contender.open(WORKERS)?;
    // What came back goes out again, so nothing is copied for the measurement's sake.
    let mut bytes = original.clone();
    let time = repeat(scale, || {
        let (time, back) = contender.echo(std::mem::take(&mut bytes))?;
        if back != original {
            return Err(Refusal::Failed("other bytes came back".to_owned()));
        }
        bytes = back;
        Ok(time)
    })?;
    contender.close()?;
    Ok(vec![Row::per_second(case, "GB/s", len as f64 / 1e9, time)])
}
