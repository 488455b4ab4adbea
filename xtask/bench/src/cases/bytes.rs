//! Bytes there and back, as the task's owned argument and result; and one way, as pieces that are lent.

use super::row::{Row, WORKERS, repeat};
use crate::contender::{Contender, Outcome, Refusal, check_sum};
use crate::data::first;
use crate::options::Scale;

pub(super) fn of_8mib(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    echo("bytes_8mib", contender, scale, 8 << 20)
}

pub(super) fn of_64k(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    echo("bytes_64k", contender, scale, 64 << 10)
}

pub(super) fn of_512mib(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    echo("bytes_512mib", contender, scale, scale.pick(64 << 20, 512 << 20))
}

/// Numbers in pieces of 4 KiB to 64 MiB that nothing is done with.
pub(super) fn sweep(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    const PIECES: [(&str, usize); 6] = [
        ("bytes_sweep_4k", 4 << 10),
        ("bytes_sweep_64k", 64 << 10),
        ("bytes_sweep_512k", 512 << 10),
        ("bytes_sweep_4m", 4 << 20),
        ("bytes_sweep_16m", 16 << 20),
        ("bytes_sweep_64m", 64 << 20),
    ];
    let numbers: Vec<f64> = (0..(128 << 20) / size_of::<f64>()).map(|i| i as f64).collect();
    contender.open(WORKERS)?;
    let mut rows = Vec::new();
    for (case, bytes) in PIECES {
        let len = bytes / size_of::<f64>();
        let expected = numbers.chunks(len).map(first).sum::<f64>() as u64;
        let time = repeat(scale, || check_sum(contender.map_pieces(&numbers, len)?, expected))?;
        rows.push(Row::per_second(case, "GB/s", size_of_val(&numbers[..]) as f64 / 1e9, time));
    }
    contender.close()?;
    Ok(rows)
}

fn echo(case: &str, contender: &mut dyn Contender, scale: Scale, len: usize) -> Outcome<Vec<Row>> {
    let original: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    contender.open(WORKERS)?;
    // The result is sent again as an argument, so nothing is copied for the measurement's sake.
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
