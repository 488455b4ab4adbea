//! The goals of the pool, as ratios in one run on two CPUs.

use std::fmt::Write;

use crate::contenders::{FLOOR, OURS};
use crate::report::Results;

enum Bar {
    /// At least so many times as good as another contender.
    Beside(&'static str, &'static str, f64),
    /// At most so much.
    AtMost(&'static str, f64),
    /// At least so much.
    AtLeast(&'static str, f64),
    /// At most so many times as much as in another case.
    Flat(&'static str, &'static str, f64),
}

use Bar::{AtLeast, AtMost, Beside, Flat};

const PYTHON: &str = "python-pool";

const BARS: [Bar; 32] = [
    Beside("call_latency", PYTHON, 30.0),
    Beside("call_latency", "procspawn", 10.0),
    Beside("call_latency", "ipc-channel", 1.0),
    Beside("call_latency", "rayon", 1.0),
    Beside("call_latency", FLOOR, 1.0 / 3.0),
    Beside("call_latency_idle", FLOOR, 1.0 / 1.5),
    Beside("jobs_rate", "rayon", 1.0),
    Beside("jobs_rate", PYTHON, 100.0),
    Beside("jobs_rate", "procspawn", 100.0),
    Beside("map_u64", PYTHON, 50.0),
    Beside("map_u64", "procspawn", 6.0),
    Beside("map_u64", "rayon", 0.2),
    Beside("map_struct", PYTHON, 20.0),
    Beside("bytes_8mib", "rayon", 0.6),
    Beside("bytes_8mib", FLOOR, 0.5),
    Beside("array_sum", "rayon", 0.95),
    Beside("array_sqrt", "rayon", 0.95),
    Beside("array_squares", "rayon", 0.8),
    Beside("work_1us", "rayon", 0.85),
    Beside("work_10us", "rayon", 0.95),
    Beside("work_100us", "rayon", 0.95),
    Beside("work_1ms", "rayon", 0.95),
    Beside("skewed", "rayon", 0.95),
    Beside("create_2", PYTHON, 3.0),
    Beside("create_32", PYTHON, 5.0),
    Beside("redis_call", FLOOR, 1.0 / 2.0),
    Beside("redis_items_1ms", "local", 0.9),
    AtLeast("redis_map_u64", 2e6),
    AtMost("idle_cpu", 0.01),
    AtMost("idle_rss", 1024.0),
    // Memory that is touched for the first time and does not fit into caches has its price; a curve that bends would be far beyond.
    Flat("pending_1000000", "pending_10000", 2.0),
    // 200 bytes beyond the argument's own 8.
    AtMost("pending_1000000_bytes", 208.0),
];

/// Which bars were met, of those that were measured.
pub(crate) fn render(results: &Results) -> String {
    let mut text = "What it must show:\n".to_owned();
    for bar in &BARS {
        let Some((is_met, sentence)) = bar.judge(results) else { continue };
        let _ = writeln!(text, "  {}  {sentence}", if is_met { "met   " } else { "MISSED" });
    }
    text
}

impl Bar {
    fn judge(&self, results: &Results) -> Option<(bool, String)> {
        Some(match *self {
            Beside(case, other, least) => {
                let ratio = 1.0 / results.beside_ours(case, other)?;
                let text = format!("{case:<22} {ratio:>9.2} × as good as {other}, wanted {least:.2}");
                (ratio >= least, text)
            }
            AtMost(case, most) => {
                let series = results.of(case, OURS)?;
                let text = format!("{case:<22} {:>9.3} {}, wanted at most {most}", series.median(), series.unit);
                (series.median() <= most, text)
            }
            AtLeast(case, least) => {
                let series = results.of(case, OURS)?;
                let text = format!("{case:<22} {:>9.0} {}, wanted at least {least}", series.median(), series.unit);
                (series.median() >= least, text)
            }
            Flat(case, other, most) => {
                let ratio = results.of(case, OURS)?.median() / results.of(other, OURS)?.median();
                (ratio <= most, format!("{case:<22} {ratio:>9.2} × the cost of {other}, wanted at most {most}"))
            }
        })
    }
}
