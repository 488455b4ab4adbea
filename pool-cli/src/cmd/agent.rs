//! `agent`: the tasks of this program for clients on other machines.

use std::path::Path;

use super::ending::{Failure, Verdict, builder};

pub(super) fn run(
    url: &str,
    workers: Option<usize>,
    memory: Option<u64>,
    trace: Option<&Path>,
    watch: bool,
) -> Result<Verdict, Failure> {
    if watch {
        return Err(Failure::Usage("`--watch` is for the program that submits the jobs".to_owned()));
    }
    let mut pool = builder(workers, "agent", trace)?;
    if let Some(bytes) = memory {
        pool = pool.memory_limit(bytes);
    }
    pool_redis::agent(url).pool(pool).run()?;
    Ok(Verdict::AllWell)
}
