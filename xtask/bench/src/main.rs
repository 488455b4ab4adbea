//! The pool beside its rivals, on one machine, in one run: `cargo xtask bench`.
//!
//! ```text
//! driver    for each round, each case, each contender in turn: a fresh process  --measure CASE CONTENDER
//!             |                                                  |
//!             |   <- rows of numbers as JSON on its stdout ------+ case + contender: warm-up, measure, check results
//!             +-> medians, table, bars, JSON, plots
//! ```
//!
//! A process for each measurement: no contender inherits another's threads, caches of memory or leftovers, and one that
//! hangs is killed, with all of its processes, and reported.

#![deny(unsafe_code)]

mod bars;
mod budget;
mod cases;
mod contender;
mod contenders;
mod data;
mod driver;
mod machine;
mod measure;
mod options;
mod plot;
mod procs;
mod report;
mod timing;

use std::process::ExitCode;

use crate::options::Options;

fn main() -> ExitCode {
    // A rival's workers are this executable, started once more.
    procspawn::init();
    if contenders::ipc_channel::serve_if_asked()
        || contenders::ringfire::serve_if_asked()
        || contenders::redis::serve_if_asked()
    {
        return ExitCode::SUCCESS;
    }
    let options = <Options as clap::Parser>::parse();
    let outcome = match &options.measure {
        Some(ask) => measure::measure_here(ask, &options),
        None => driver::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
