//! The limit of a worker's private memory, and whether there is one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

static HAS_MEMORY_LIMIT: AtomicBool = AtomicBool::new(false);

/// Limits this process to so many bytes beyond what it has now: private writable memory of any kind, since Linux 4.7, see
/// RLIMIT_DATA in getrlimit(2).
pub(crate) fn limit_memory(bytes: u64) {
    let now = status_bytes("VmData:").unwrap_or(0);
    let limit = now.saturating_add(bytes);
    // The hard limit stays, so that the pool's own work can be done beyond the limit.
    let hard = getrlimit(Resource::RLIMIT_DATA).map_or(limit, |(_, hard)| hard);
    let is_set = setrlimit(Resource::RLIMIT_DATA, limit.min(hard), hard).is_ok();
    HAS_MEMORY_LIMIT.store(is_set, Ordering::Relaxed);
}

/// Runs `body`, which is the pool's own work, without the memory limit: a failed allocation in there would end the process, or
/// would never end if `std` holds a lock meanwhile, as it does while it looks up the names of a backtrace.
pub(crate) fn without_memory_limit<R>(body: impl FnOnce() -> R) -> R {
    let limits = getrlimit(Resource::RLIMIT_DATA).ok().filter(|_| has_memory_limit());
    let set = |soft: u64| limits.map(|(_, hard)| setrlimit(Resource::RLIMIT_DATA, soft, hard));
    let bytes = || limits.and_then(|_| status_bytes("VmData:")).unwrap_or(0);
    limits.map(|(_, hard)| set(hard));
    let before = bytes();
    let result = body();
    // Memory that the body keeps is not the task's.
    limits.map(|(soft, hard)| set(soft.saturating_add(bytes().saturating_sub(before)).min(hard)));
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
