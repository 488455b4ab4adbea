//! `run`: tasks by their names over JSON lines.

use std::io;
use std::path::Path;
use std::time::Duration;

use pool_core::jsonl;

use super::ending::{Failure, Verdict, builder};
use crate::args::Machines;
use crate::watch::{Above, Watch};

pub(super) fn run(
    task: Option<&str>,
    timeout: Option<Duration>,
    machines: &Machines,
    workers: Option<usize>,
    trace: Option<&Path>,
    watch: &Watch,
) -> Result<Verdict, Failure> {
    let mut builder = machines.have(builder(workers, "run", trace)?)?;
    if let Some(limit) = timeout {
        builder = builder.task_timeout(limit);
    }
    let pool = builder.build()?;
    let (input, output) = (io::stdin(), Above::new(watch, io::stdout()));
    let summary = watch.beside(&pool, || match task {
        Some(task) => jsonl::run_task(&pool, task, input, output),
        None => jsonl::run_in(&pool, input, output),
    })?;
    Ok(Verdict::all_well_if(summary.errors == 0))
}
