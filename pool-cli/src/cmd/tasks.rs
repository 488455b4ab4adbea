//! `tasks`: the dispatch table.

use super::ending::{Failure, Verdict, print};
use crate::render;

const HEADINGS: [&str; 5] = ["TASK", "ARGUMENTS", "RESULT", "MODULE", "DEFINED AT"];

pub(super) fn run() -> Result<Verdict, Failure> {
    let tasks = pool_core::tasks();
    let rows = tasks.iter().map(|task| {
        let place = format!("{}:{}", task.file(), task.line());
        [task.name(), task.args(), task.output(), task.module(), &place].map(str::to_owned)
    });
    let table = render::table(&HEADINGS.map(str::to_owned), &rows.collect::<Vec<_>>());
    print(table.as_bytes())
}
