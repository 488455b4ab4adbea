//! `run`: tasks by their names over JSON lines.

use std::io;
use std::path::Path;

use pool_core::jsonl;

use super::ending::{Failure, Verdict, pool};

pub(super) fn run(task: Option<&str>, workers: Option<usize>, trace: Option<&Path>) -> Result<Verdict, Failure> {
    let pool = pool(workers, "run", trace)?;
    let (input, output) = (io::stdin(), io::stdout());
    let summary = match task {
        Some(task) => jsonl::run_task(&pool, task, input, output),
        None => jsonl::run_in(&pool, input, output),
    }?;
    Ok(Verdict::all_well_if(summary.errors == 0))
}
