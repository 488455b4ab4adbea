//! The system's facts about processes: descent, CPU time, memory.

use std::fs;

/// All processes below this one.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let (mut found, mut parents) = (Vec::new(), vec![of]);
    while let Some(parent) = parents.pop() {
        // A thread's children are listed with the thread.
        for thread in entries(&format!("/proc/{parent}/task")) {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{thread}/children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
            let known = found.len();
            found.extend(children);
            parents.extend_from_slice(&found[known..]);
        }
    }
    found
}

/// This process and all below it.
pub(crate) fn family() -> Vec<u32> {
    let own = std::process::id();
    let mut pids = descendants(own);
    pids.push(own);
    pids
}

/// Nanoseconds of CPU that these processes' threads have used, but not this process's first, which is the one that measures.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    let of_thread = |path: String| -> Option<u64> {
        let text = fs::read_to_string(path).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let of_process = |pid: &u32| -> u64 {
        let own = std::process::id();
        let threads = entries(&format!("/proc/{pid}/task"));
        let threads = threads.iter().filter(|thread| **thread != own.to_string());
        threads.filter_map(|thread| of_thread(format!("/proc/{pid}/task/{thread}/schedstat"))).sum()
    };
    pids.iter().map(of_process).sum()
}

/// Bytes of memory that these processes have, pages that they share counted once.
pub(crate) fn shared_once_bytes(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| kib_field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
}

/// Bytes of memory that this process has.
pub(crate) fn resident_bytes() -> u64 {
    kib_field("/proc/self/status", "VmRSS:")
}

fn kib_field(path: &str, field: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = value.and_then(|value| value.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn entries(folder: &str) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Kills a process.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn kill(pid: u32) {
    // SAFETY: any number is fine; one that is no process's is refused.
    let _ = unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

/// Makes this process the parent of all processes below it when their own parent ends.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn adopt_orphans() -> std::io::Result<()> {
    // SAFETY: takes a number.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Kills all processes below this one and waits until they are gone. Afterwards there is no child left to wait for.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn kill_descendants() {
    loop {
        descendants(std::process::id()).into_iter().for_each(kill);
        // SAFETY: no status is asked for.
        let reaped = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        if reaped == -1 {
            return;
        }
    }
}

/// CPU time of all children that have ended and been waited for, and of theirs.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn children_cpu() -> std::time::Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the struct is writable, and all zeroes are a valid one should the call fail.
    let _ = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    // SAFETY: see above.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        std::time::Duration::from_secs(time.tv_sec as u64) + std::time::Duration::from_micros(time.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
