//! The computations and their inputs: the same for all contenders.

use serde::{Deserialize, Serialize};

use crate::timing::{Timed, timed};

/// Eight sums at once, so that an addition need not wait for the one before.
pub(crate) fn sum_of(part: &[f64]) -> f64 {
    let (groups, rest) = part.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for group in groups {
        sums.iter_mut().zip(group).for_each(|(sum, number)| *sum += number);
    }
    sums.iter().chain(rest).sum()
}

/// Square roots, in place.
pub(crate) fn sqrt_of(part: &mut [f64]) -> u64 {
    part.iter_mut().for_each(|number| *number = number.sqrt());
    part.len() as u64
}

/// Replaces numbers by their squares; their number.
pub(crate) fn square_of(part: &mut [u64]) -> u64 {
    part.iter_mut().for_each(|number| *number = number.wrapping_mul(*number));
    part.len() as u64
}

/// The trivial task.
#[inline]
pub(crate) fn increment(number: u64) -> u64 {
    number + 1
}

/// An argument of some structure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) score: f64,
    pub(crate) tag: Option<u32>,
}

impl Record {
    pub(crate) fn many(count: usize) -> Vec<Record> {
        let one = |i: usize| Record {
            name: format!("record {i}"),
            score: i as f64,
            tag: i.is_multiple_of(2).then_some(i as u32),
        };
        (0..count).map(one).collect()
    }

    /// The number that a record adds to a sum.
    pub(crate) fn digest(&self) -> u64 {
        self.name.len() as u64 + self.score as u64 + u64::from(self.tag.unwrap_or(0))
    }
}

/// The task on records: little to do, everything to be carried.
#[inline]
pub(crate) fn touch(mut record: Record) -> Record {
    record.score += 1.0;
    record
}

/// The task on pieces of numbers: nothing to do.
#[inline]
pub(crate) fn first(piece: &[f64]) -> f64 {
    piece[0] + piece[piece.len() - 1]
}

/// Items that each take some time.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) times_us: Vec<f64>,
    /// The same in steps of [`work`].
    pub(crate) steps: Vec<u64>,
}

impl Work {
    pub(crate) fn new(times_us: Vec<f64>, steps_per_us: f64) -> Work {
        let steps = times_us.iter().map(|time| (time * steps_per_us).round() as u64).collect();
        Work { times_us, steps }
    }
}

/// Arithmetic that depends on itself from step to step, in a way that no compiler can shorten: so steps are time.
#[inline(never)]
pub(crate) fn work(steps: u64) -> u64 {
    let mut state = steps | 1;
    for _ in 0..steps {
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    state
}

pub(crate) fn serial_work(steps: &[u64]) -> Timed {
    let (elapsed, results) = timed(|| steps.iter().map(|&steps| work(steps)).collect::<Vec<_>>());
    Timed { elapsed, sum: sum(results) }
}

/// The sum of the results; they need not be in order.
pub(crate) fn sum(results: impl IntoIterator<Item = u64>) -> u64 {
    results.into_iter().fold(0, u64::wrapping_add)
}

/// How many steps of work take a microsecond here.
pub(crate) fn steps_per_us() -> f64 {
    const STEPS: u64 = 2_000_000;
    let fastest = (0..9).map(|_| timed(|| work(std::hint::black_box(STEPS))).0).min();
    STEPS as f64 / (fastest.expect("nine were timed").as_secs_f64() * 1e6)
}

/// Times in microseconds of a heavy-tailed distribution (Pareto's, of exponent 1.1, between 2 µs and 10 ms): most of the items are
/// tiny, and a few of them are half of the work.
pub(crate) fn skewed_times(count: usize) -> Vec<f64> {
    const SHORTEST: f64 = 2.0;
    const LONGEST: f64 = 10_000.0;
    const EXPONENT: f64 = 1.1;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| (SHORTEST / (1.0 - uniform()).powf(1.0 / EXPONENT)).min(LONGEST)).collect()
}

/// By-hand chunks for rivals that have no map: so many that the load can level out, so few that each is worth its transport.
pub(crate) fn chunk_len(items: usize, workers: usize) -> usize {
    const CHUNKS_PER_WORKER: usize = 16;
    items.div_ceil(workers * CHUNKS_PER_WORKER).max(1)
}
