//! The cost of a pool that has nothing to do.

use std::thread;
use std::time::Duration;

use super::row::{Better, Row, WORKERS};
use crate::contender::{Contender, Outcome};
use crate::options::Scale;
use crate::procs;

/// CPU seconds of all processes in 10 s.
pub(super) fn cpu(contender: &mut dyn Contender, scale: Scale) -> Outcome<Vec<Row>> {
    const SPAN: f64 = 10.0;
    let span = scale.pick(1.0, 3.0);
    contender.open(WORKERS)?;
    contender.calls(1_000, Duration::ZERO)?;
    // Work that the calls have left is not idling.
    thread::sleep(Duration::from_millis(200));
    let family = procs::family();
    let before = procs::cpu_ns(&family);
    thread::sleep(Duration::from_secs_f64(span));
    let used = procs::cpu_ns(&family) - before;
    contender.close()?;
    Ok(vec![Row::new("idle_cpu", "s in 10 s", Better::Lower, used as f64 / 1e9 * (SPAN / span))])
}

/// Memory for each worker of a pool of 8 that has done something: by how much all processes together have grown, pages that
/// they share counted once.
pub(super) fn rss(contender: &mut dyn Contender, _: Scale) -> Outcome<Vec<Row>> {
    const WORKERS: usize = 8;
    // Memory that the first pool of a process leaves behind (an interpreter that is started, say) is not the second's.
    contender.open(1)?;
    contender.calls(100, Duration::ZERO)?;
    contender.close()?;
    let before = procs::shared_once_bytes(&procs::family());
    contender.open(WORKERS)?;
    contender.calls(1_000, Duration::ZERO)?;
    let after = procs::shared_once_bytes(&procs::family());
    contender.close()?;
    let each = after.saturating_sub(before) as f64 / WORKERS as f64;
    Ok(vec![Row::new("idle_rss", "KiB/worker", Better::Lower, each / 1024.0)])
}
