//! `agent`: the tasks of this program for clients on other machines.

use std::path::Path;

use super::ending::{Failure, Verdict, builder};

pub(super) fn run(url: &str, workers: Option<usize>, trace: Option<&Path>, watch: bool) -> Result<Verdict, Failure> {
    if watch {
        return Err(Failure::Usage("`--watch` is for the program that submits the jobs".to_owned()));
    }
    pool_redis::agent(url).pool(builder(workers, "agent", trace)?).run()?;
    Ok(Verdict::AllWell)
}
