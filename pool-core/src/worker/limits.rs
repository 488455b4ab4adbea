//! The limits of a worker process: memory, CPUs, and its rank when the kernel kills for want of memory.

use std::fs;
use std::sync::LazyLock;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pool_ipc::sys::page_bytes;
use serde::{Deserialize, Serialize};

use crate::process::environment::WorkerEnv;
use crate::process::memory_limit::limit_memory;

/// The limits that the builder sets for all workers of a pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkerLimits {
    /// Name of the pool.
    pub(crate) name: String,
    /// The most private memory of a worker in bytes, beyond that with which it starts.
    pub(crate) memory_limit: Option<u64>,
    /// Resident memory in bytes, beyond that with which it starts, from which on a worker is replaced.
    pub(crate) max_rss: Option<u64>,
    /// Bytes of files and of shared memory that the preload has mapped: a worker has them in its memory when it touches them.
    #[serde(skip)]
    pub(crate) preloaded_bytes: u64,
    /// Variables of the environment. The fork server gets them with its own environment.
    #[serde(skip)]
    pub(crate) env: WorkerEnv,
    /// The host listens to the standard output and standard error.
    pub(crate) is_heard: bool,
    /// The level of the spans and events that are forwarded to the host, from 1, for errors, to 5; 0 if none are.
    pub(crate) forwarded_level: u8,
    /// Each worker runs on one CPU only.
    pub(crate) pin_cpus: bool,
}

/// Raises a worker's score, so that the kernel kills it and not its host when memory runs out: see
/// proc_pid_oom_score_adj(5).
const OOM_SCORE_ADD: i32 = 300;
const OOM_SCORE_MAX: i32 = 1000;

impl WorkerLimits {
    /// Applies the limits to this process, the worker `worker`. Limits that the system does not allow are left out.
    pub(crate) fn apply(&self, worker: u32) {
        if let Some(score) = *OOM_SCORE_BEFORE {
            // From the score of the start, so that a worker forked by a worker is not raised twice.
            let _ = fs::write(OOM_SCORE, (score + OOM_SCORE_ADD).min(OOM_SCORE_MAX).to_string());
        }
        self.apply_to_thread(worker as usize);
        if let Some(limit) = self.memory_limit {
            limit_memory(limit);
        }
    }

    /// Leaves out the limits of processes, for workers that are threads.
    pub(crate) fn for_threads(self) -> Self {
        WorkerLimits { memory_limit: None, max_rss: None, env: WorkerEnv::default(), ..self }
    }

    /// Applies to this thread the limits that a thread can have.
    pub(crate) fn apply_to_thread(&self, worker: usize) {
        if self.pin_cpus {
            let _ = pin(worker);
        }
    }
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// The score with which this process, or the fork server before it, began; `None` if it cannot be read. The fork server reads
/// it, so its workers need not.
pub(crate) static OOM_SCORE_BEFORE: LazyLock<Option<i32>> =
    LazyLock::new(|| fs::read_to_string(OOM_SCORE).ok()?.trim().parse().ok());

/// Pins the worker to the CPU of its number, among those that this process may use.
fn pin(worker: usize) -> nix::Result<()> {
    // The allowed CPUs need not be the first ones: a container or `taskset` may leave any of them.
    let me = Pid::from_raw(0);
    let allowed = sched_getaffinity(me)?;
    let cpus: Vec<_> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
    let mut mine = CpuSet::new();
    mine.set(cpus[worker % cpus.len().max(1)])?;
    sched_setaffinity(me, &mine)
}

/// Checks from time to time whether the worker has grown past its limit.
#[derive(Debug)]
pub(crate) struct RssWatch {
    max_bytes: u64,
    page_bytes: u64,
    next_check_ns: u64,
}

/// Time between two checks, each of which takes some microseconds.
const RSS_CHECK_NS: u64 = 5_000_000;

impl RssWatch {
    pub(crate) fn new(settings: &WorkerLimits) -> Option<Self> {
        let (growth, page_bytes) = (settings.max_rss?, page_bytes() as u64);
        // The limit counts from here: a worker that is a copy of the host begins with the host's memory.
        let resident = resident_pages().unwrap_or(0).saturating_mul(page_bytes);
        // Pages of preloaded files and shared memory count as resident only when they are touched, so not yet.
        let max_bytes = resident.saturating_add(growth).saturating_add(settings.preloaded_bytes);
        Some(RssWatch { max_bytes, page_bytes, next_check_ns: 0 })
    }

    /// True if the worker is past its limit. `now_ns` is the time. `forget_shared` takes memory that is the pool's own out of the
    /// worker's resident memory.
    pub(crate) fn is_past(&mut self, now_ns: u64, forget_shared: impl FnOnce()) -> bool {
        if now_ns < self.next_check_ns {
            return false;
        }
        self.next_check_ns = now_ns + RSS_CHECK_NS;
        let is_past = || resident_pages().is_some_and(|pages| pages.saturating_mul(self.page_bytes) > self.max_bytes);
        // Pages of the arena that this process has read count as resident, too, and are not its own.
        is_past() && {
            forget_shared();
            is_past()
        }
    }
}

/// See proc_pid_statm(5).
fn resident_pages() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_whitespace().nth(1)?.parse().ok()
}
