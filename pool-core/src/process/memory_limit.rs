//! The limit of a worker's private memory, and whether there is one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

static HAS_MEMORY_LIMIT: AtomicBool = AtomicBool::new(false);

/// Limits this process to so many bytes beyond its present memory: private writable memory of any kind, since Linux 4.7, see
/// RLIMIT_DATA in getrlimit(2).
pub(crate) fn limit_memory(bytes: u64) {
    let now = status_bytes("VmData:").unwrap_or(0);
    let limit = now.saturating_add(bytes);
    let (_, most) = getrlimit(Resource::RLIMIT_DATA).unwrap_or((limit, limit));
    let is_set = setrlimit(Resource::RLIMIT_DATA, limit, limit.saturating_add(REPORT_BYTES).min(most)).is_ok();
    HAS_MEMORY_LIMIT.store(is_set, Ordering::Relaxed);
}

/// Memory beyond the limit in which a panic may be reported: the names of a backtrace's functions are looked up in the debug
/// information of the whole program. The standard library holds a lock meanwhile, which a failed allocation takes once more, so
/// that the process would hang.
const REPORT_BYTES: u64 = 1 << 30;

/// Runs `report` with memory beyond the limit. Memory that it keeps, such as tables of names for the next time, is not
/// charged to the tasks.
pub(crate) fn beyond_limit<R>(report: impl FnOnce() -> R) -> R {
    let limits = getrlimit(Resource::RLIMIT_DATA).ok().filter(|_| has_memory_limit());
    let Some((limit, most)) = limits else { return report() };
    let is_raised = setrlimit(Resource::RLIMIT_DATA, most, most).is_ok();
    // Behind that, since to read it takes memory, too.
    let before = status_bytes("VmData:").unwrap_or(0);
    let result = report();
    if is_raised {
        let kept = status_bytes("VmData:").unwrap_or(before).saturating_sub(before);
        let _ = setrlimit(Resource::RLIMIT_DATA, limit.saturating_add(kept).min(most), most);
    }
    result
}

/// True if a memory limit is set, which then is the likely reason why an allocation fails. Async-signal-safe.
#[inline]
pub(crate) fn has_memory_limit() -> bool {
    HAS_MEMORY_LIMIT.load(Ordering::Relaxed)
}

/// The value of a line of proc_pid_status(5) in bytes; its kB are KiB.
fn status_bytes(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|text| text.strip_prefix(line))?;
    value.trim().strip_suffix(" kB")?.parse().ok().map(|kib: u64| kib << 10)
}
