//! What a worker process is held to: memory, CPUs, and its turn when memory runs out.

use std::fs;
use std::sync::LazyLock;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pool_ipc::sys::page_bytes;
use serde::{Deserialize, Serialize};

use crate::process::memory_limit::limit_memory;

/// What the builder says of every worker of a pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkerLimits {
    /// The pool's.
    pub(crate) name: String,
    /// Bytes that it may have beyond what it starts with.
    pub(crate) memory_limit: Option<u64>,
    /// Bytes of resident memory, beyond what it starts with, after which it is replaced.
    pub(crate) max_rss: Option<u64>,
    /// Each worker has one CPU.
    pub(crate) pin_cpus: bool,
}

/// When the kernel must kill something, let it be a worker and not its host: see proc_pid_oom_score_adj(5).
const OOM_SCORE_ADD: i32 = 300;
const OOM_SCORE_MAX: i32 = 1000;

impl WorkerLimits {
    /// Holds this process, the worker of this number, to them. What the system does not allow is left out.
    pub(crate) fn apply(&self, worker: u32) {
        if let Some(score) = *OOM_SCORE_BEFORE {
            let _ = fs::write(OOM_SCORE, (score + OOM_SCORE_ADD).min(OOM_SCORE_MAX).to_string());
        }
        if self.pin_cpus {
            let _ = pin(worker as usize);
        }
        if let Some(limit) = self.memory_limit {
            limit_memory(limit);
        }
    }
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// What it was for the process that began it all, if that can be read. A fork server asks, and its workers need not.
pub(crate) static OOM_SCORE_BEFORE: LazyLock<Option<i32>> =
    LazyLock::new(|| fs::read_to_string(OOM_SCORE).ok()?.trim().parse().ok());

/// Puts the worker on the CPU of its number, among those that this process may use.
fn pin(worker: usize) -> nix::Result<()> {
    let me = Pid::from_raw(0);
    let allowed = sched_getaffinity(me)?;
    let cpus: Vec<_> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
    let mut mine = CpuSet::new();
    mine.set(cpus[worker % cpus.len().max(1)])?;
    sched_setaffinity(me, &mine)
}

/// Looks from time to time whether the worker has grown past its limit.
#[derive(Debug)]
pub(crate) struct RssWatch {
    /// What it may have grown to.
    max: u64,
    page: u64,
    next_look: u64,
}

/// Nanoseconds between two looks, each of which costs some microseconds.
const LOOK_EVERY: u64 = 5_000_000;

impl RssWatch {
    pub(crate) fn new(settings: &WorkerLimits) -> Option<Self> {
        let (growth, page) = (settings.max_rss?, page_bytes() as u64);
        // A copy of the host, for one, has the host's memory, and its successor would have it again.
        let max = resident_pages().unwrap_or(0).saturating_mul(page).saturating_add(growth);
        Some(RssWatch { max, page, next_look: 0 })
    }

    /// Whether it has, as seen at the time `now`.
    pub(crate) fn is_past(&mut self, now: u64) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK_EVERY;
        resident_pages().is_some_and(|pages| pages.saturating_mul(self.page) > self.max)
    }
}

/// See proc_pid_statm(5).
fn resident_pages() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_whitespace().nth(1)?.parse().ok()
}
