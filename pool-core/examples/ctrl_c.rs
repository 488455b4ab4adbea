//! A program that stops well: at Ctrl-C it finishes the items that run, drops the others and reports them, and ends in
//! bounded time.
//!
//! ```sh
//! cargo run -p pool-core --example ctrl_c -- 1000 50     # a thousand items of 50 ms
//! ```
//!
//! The terminal sends Ctrl-C to the program and not to its workers, which are in process groups of their own: the program
//! decides.

use std::thread;

use nix::sys::signal::{SigSet, Signal};
use pool_core::prelude::*;

/// The time that running items have to finish after Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

#[pool_task]
fn work(item: u64, ms: u64) -> u64 {
    thread::sleep(Duration::from_millis(ms));
    item * item
}

/// Runs the items of the command line. The exit code after Ctrl-C is 130, as shells have it.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let items = numbers.next().transpose()?.unwrap_or(100);
    let ms = numbers.next().transpose()?.unwrap_or(100);

    // Blocked before the first thread is started, so that all threads inherit it and the signal waits for `stop_well`.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;

    let pool = Pool::new(2)?;
    let (mut done, mut failed) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| stop_well(&pool, signals));
        for result in pool.imap(work::Task, (0..items).map(|item| (item, ms)))? {
            match result.map_err(|error| (error.kind(), error)) {
                Ok(square) => {
                    done += 1;
                    say(&format!("{square}"));
                }
                Err((ErrorKind::Cancelled | ErrorKind::Closed, _)) => {} // no worker had begun it
                Err((_, error)) => {
                    failed += 1;
                    say(&error.to_string());
                }
            }
        }
        say(&format!("{done} of {items} items done, {failed} failed, {} not begun", items - done - failed));
        std::process::exit(if done == items { 0 } else { 130 });
    })
}

/// Waits for a signal. Then items that have not begun are cancelled, and those that run may finish, but not for longer than
/// [`GRACE`].
fn stop_well(pool: &Pool, signals: SigSet) {
    if signals.wait().is_err() {
        return;
    }
    pool.close();
    pool.cancel_pending();
    if pool.wait_idle_timeout(GRACE).is_err() {
        pool.terminate();
    }
}

/// A line on standard output. If the reader has left, the line is lost.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
