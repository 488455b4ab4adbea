//! A sweep over parameters with a progress bar: `cargo run --release -p pool-core --example sweep`.
//!
//! Results are taken as they come, so the bar moves though some points take much longer than others. A point that diverges
//! panics, and costs itself alone.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use indicatif::{ProgressBar, ProgressStyle};
use pool_core::prelude::*;

/// Steps of gradient descent with momentum on a narrow valley, until it is at the bottom.
#[pool_task(timeout = "60s")]
fn steps(rate: f64, momentum: f64) -> u32 {
    let (mut at, mut speed) = ((8.0_f64, 8.0_f64), (0.0, 0.0));
    for step in 0..1_000_000 {
        let gradient = (at.0, 30.0 * at.1);
        speed = (momentum * speed.0 - rate * gradient.0, momentum * speed.1 - rate * gradient.1);
        at = (at.0 + speed.0, at.1 + speed.1);
        let distance = at.0.hypot(at.1);
        assert!(distance < 1e6, "diverges: {distance:.0} away after {step} steps");
        if distance < 1e-6 {
            return step;
        }
    }
    u32::MAX
}

/// Tries 30 rates with 10 momenta each.
pub(crate) fn main() -> pool_core::Result<()> {
    let points: Vec<(f64, f64)> = (1..=30)
        .flat_map(|rate| (0..10).map(move |momentum| (f64::from(rate) * 0.005, f64::from(momentum) * 0.1)))
        .collect();
    let pool = Pool::builder().build()?;
    let style = ProgressStyle::with_template("{elapsed} [{wide_bar}] {pos} of {len}, best: {msg}");
    let bar = ProgressBar::new(points.len() as u64).with_style(style.expect("it is written above"));
    let (mut best, mut diverged) = ((u32::MAX, 0), 0);
    for done in pool.imap_unordered(steps::Task, points.iter().copied())?.detailed() {
        match done.result {
            // In whatever order they come: of equals the first point counts.
            Ok(steps) => best = best.min((steps, done.index)),
            Err(error) if error.kind() == ErrorKind::Panicked => diverged += 1,
            Err(error) => return Err(error),
        }
        bar.set_message(format!("{} steps", best.0));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (rate, momentum) = points[best.1];
    println!("{} steps with rate {rate:.3} and momentum {momentum:.1}; {diverged} points diverge", best.0);
    assert!(best.0 < 200 && diverged > 10);
    pool.close();
    pool.join()
}
