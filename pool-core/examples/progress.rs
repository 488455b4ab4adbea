//! Progress bars out of running items: one for each item, drawn by the host.
//!
//! ```sh
//! cargo run -p pool-core --example progress -- 4 300     # four items of 300 steps
//! ```
//!
//! An item reports how far it is. The listener runs in a thread of the pool, so the main thread is free to wait for the
//! results.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar};
use pool_core::prelude::*;
use pool_core::{Report, report};
use serde::{Deserialize, Serialize};

/// Steps between two reports.
const STRIDE: u64 = 5;

#[derive(Serialize, Deserialize)]
struct Progress {
    done: u64,
    of: u64,
}

#[pool_task(reports)]
fn search(steps: u64) -> u64 {
    let mut found = 0;
    for done in 0..steps {
        if done.is_multiple_of(STRIDE) {
            report(&Progress { done, of: steps });
        }
        std::thread::sleep(Duration::from_millis(2));
        found += u64::from(done.is_power_of_two());
    }
    report(&Progress { done: steps, of: steps });
    found
}

#[expect(clippy::print_stdout, reason = "it is its purpose")]
pub(crate) fn main() -> pool_core::Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let (items, steps) = (numbers.next().unwrap_or(4), numbers.next().unwrap_or(300));
    let pool = Pool::new(2)?;
    let all = MultiProgress::new();
    let mut bars = BTreeMap::new();
    let draw = move |report: Report<Progress>| {
        let Ok(Progress { done, of }) = report.value else { return };
        let bar = bars.entry(report.item).or_insert_with(|| all.add(ProgressBar::new(of)));
        bar.set_position(done);
        if done == of {
            bar.finish();
        }
    };
    let found: u64 = pool
        .imap(search::Task, (1..=items).map(|item| item * steps / items))?
        .on_report(draw)
        .sum::<pool_core::Result<_>>()?;
    println!("found {found}");
    pool.close();
    pool.join()
}
