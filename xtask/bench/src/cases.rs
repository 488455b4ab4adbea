//! What is measured.

mod bytes;
mod calls;
mod idle;
mod lives;
mod maps;
mod scaling;
mod work;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Outcome};
use crate::options::Scale;

/// One case, which gives one row or several.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut dyn Contender, Scale) -> Outcome<Vec<Row>>,
    /// Whether it takes long, and says much at once: then it is measured less often.
    pub(crate) is_long: bool,
}

/// One number of one contender in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) value: f64,
    /// Of a distribution, evenly spaced quantiles, for the plots.
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

/// All, in the order of the table.
pub(crate) const CASES: [Case; 21] = [
    Case { name: "call_latency", run: calls::latency, is_long: false },
    Case { name: "call_latency_idle", run: calls::latency_idle, is_long: false },
    Case { name: "jobs_rate", run: calls::jobs_rate, is_long: false },
    Case { name: "map_u64", run: maps::numbers, is_long: false },
    Case { name: "map_struct", run: maps::records, is_long: false },
    Case { name: "map_chunk1", run: maps::singly, is_long: false },
    Case { name: "imap_u64", run: maps::lazily, is_long: false },
    Case { name: "bytes_8mib", run: bytes::of_8mib, is_long: false },
    Case { name: "bytes_64k", run: bytes::of_64k, is_long: false },
    Case { name: "work_1us", run: work::of_1us, is_long: false },
    Case { name: "work_10us", run: work::of_10us, is_long: false },
    Case { name: "work_100us", run: work::of_100us, is_long: false },
    Case { name: "work_1ms", run: work::of_1ms, is_long: false },
    Case { name: "skewed", run: work::skewed, is_long: false },
    Case { name: "create_2", run: lives::create_2, is_long: false },
    Case { name: "create_32", run: lives::create_32, is_long: false },
    Case { name: "close_32", run: lives::close_32, is_long: false },
    Case { name: "idle_cpu", run: idle::cpu, is_long: true },
    Case { name: "idle_rss", run: idle::rss, is_long: true },
    Case { name: "respawn", run: lives::respawn, is_long: false },
    Case { name: "scaling", run: scaling::all, is_long: true },
];

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

    fn milliseconds(case: &str, time: Duration) -> Row {
        Row::new(case, "ms", Better::Lower, time.as_secs_f64() * 1e3)
    }

    fn per_second(case: &str, unit: &str, count: f64, time: Duration) -> Row {
        Row::new(case, unit, Better::Higher, count / time.as_secs_f64())
    }
}

/// Measures again and again, as long as there is time; the first does not count, it warms up. The median.
fn repeat(scale: Scale, mut measure: impl FnMut() -> Outcome<Duration>) -> Outcome<Duration> {
    measure()?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || start.elapsed() < scale.budget() {
        times.push(measure()?);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
