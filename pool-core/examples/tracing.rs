//! Spans and events of workers in the host's log, in the spans in which their jobs were submitted.
//!
//! ```sh
//! cargo run -p pool-core --example tracing --features tracing
//! ```

use pool_core::prelude::*;
use tracing::{error, info, info_span, warn};

/// A day's orders, of which one is broken.
#[pool_task(retries = 1)]
fn bill(day: u32) -> u32 {
    let orders = (1..=3).map(|order| day * 10 + order);
    let mut total = 0;
    for order in orders {
        let _span = info_span!("order", order).entered();
        if order == 42 && current_attempt() == 1 {
            error!("this order is corrupt");
            // A C library would crash here. Its worker dies, and its last words are in the log.
            std::process::abort();
        }
        total += order;
        info!(total, "billed");
    }
    if total > 150 {
        warn!(total, "a busy day");
    }
    total
}

fn current_attempt() -> u32 {
    pool_core::current_item().map_or(0, |item| item.attempt)
}

/// Bills three days of May.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before the pool is built, which asks it for its level.
    tracing_subscriber::fmt().without_time().with_writer(std::io::stdout).with_ansi(false).init();
    let pool = Pool::builder().workers(2).forward_tracing().build()?;
    let totals = info_span!("month", name = "May").in_scope(|| pool.map(bill::Task, 3..6))?;
    pool.close();
    // All records have arrived after that.
    pool.join()?;
    info!(sum = totals.iter().sum::<u32>(), "done");
    Ok(())
}
