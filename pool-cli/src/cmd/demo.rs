//! `demo`: the operations of Python's pools, line by line, done by this one.

use std::io::{self, LineWriter};
use std::path::Path;

use super::ending::{Failure, Verdict, pool};
use crate::render::Paint;
use crate::watch::{Above, Watch};
use stage::Stage;

mod failures;
mod lifecycle;
mod results;
mod stage;
mod tasks;

/// Workers unless the command line says otherwise, as in `Pool(4)`.
pub(super) const WORKERS: usize = 4;

pub(super) fn run(workers: usize, trace: Option<&Path>, watch: &Watch) -> Result<Verdict, Failure> {
    // Before anything is shown: the number may be one that no pool takes.
    let pool = pool(Some(workers), "demo", trace)?;
    let mut out = LineWriter::new(Above::new(watch, io::stdout().lock()));
    let mut stage = Stage::new(&mut out, Paint::for_stdout());
    stage.note(
        "Python's multiprocessing.Pool, line by line. What slept for seconds sleeps for tenths of seconds here.",
    )?;
    lifecycle::show(&mut stage, pool, watch)?;
    results::show(&mut stage, workers)?;
    failures::show(&mut stage, workers)?;
    Ok(Verdict::all_well_if(stage.summary()?))
}
