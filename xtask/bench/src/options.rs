//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// The pool beside its rivals.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
pub(crate) struct Options {
    /// Smaller inputs and fewer rounds: at most five minutes
    #[arg(long)]
    pub(crate) quick: bool,

    /// Only this case, or those with this beginning and a `*` (may be given several times)
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,

    /// Only this contender (may be given several times)
    #[arg(long = "contender", value_name = "NAME")]
    pub(crate) contenders: Vec<String>,

    /// How often each contender is measured, in place of as often as a quarter of an hour allows
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<usize>,

    /// Write all results to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write plots (SVG and PNG) into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,

    /// An order of the driver to a process that it starts
    #[arg(long, num_args = 2, hide = true, value_names = ["CASE", "CONTENDER"])]
    pub(crate) measure: Option<Vec<String>>,

    /// How many steps of work take this machine a microsecond, as the driver has measured
    #[arg(long, hide = true, default_value_t = 0.0)]
    pub(crate) steps_per_us: f64,
}

impl Options {
    /// How much is to be measured.
    pub(crate) fn scale(&self) -> Scale {
        Scale { is_quick: self.quick, steps_per_us: self.steps_per_us }
    }
}

/// How much is to be measured: the same for all contenders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) is_quick: bool,
    pub(crate) steps_per_us: f64,
}

impl Scale {
    /// One of two numbers.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// How long one measurement goes on being repeated, within its process.
    pub(crate) fn budget(self) -> Duration {
        Duration::from_millis(self.pick(60, 200))
    }
}
