//! Rows of the table, and how cases measure them.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::contender::Outcome;
use crate::options::Scale;

/// One number of one contender in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) value: f64,
    /// Evenly spaced quantiles of a distribution, for the plots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) quantiles: Vec<f64>,
}

/// Which way numbers get better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// Workers of every pool, where the case does not say otherwise.
pub(crate) const WORKERS: usize = 2;

/// CPUs that this process may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Row {
    pub(crate) fn new(case: impl Into<String>, unit: &str, better: Better, value: f64) -> Row {
        Row { case: case.into(), unit: unit.to_owned(), better, value, quantiles: Vec::new() }
    }

    pub(super) fn milliseconds(case: &str, time: Duration) -> Row {
        Row::new(case, "ms", Better::Lower, time.as_secs_f64() * 1e3)
    }

    pub(super) fn per_second(case: &str, unit: &str, count: f64, time: Duration) -> Row {
        Row::new(case, unit, Better::Higher, count / time.as_secs_f64())
    }
}

/// Measures again and again, as long as there is time; the first does not count, it warms up. The median.
pub(super) fn repeat(scale: Scale, mut measure: impl FnMut() -> Outcome<Duration>) -> Outcome<Duration> {
    measure()?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || start.elapsed() < scale.budget() {
        times.push(measure()?);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
