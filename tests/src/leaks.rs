//! The descriptors, threads, shared memory and child processes of a process, compared before and after.

use std::collections::BTreeMap;
use std::fs;

use crate::procs::{self, Process, eventually};

/// The resources of this process at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number and target.
    fds: BTreeMap<String, String>,
    /// Names.
    threads: Vec<String>,
    /// Those of files that only exist in memory.
    mappings: Vec<String>,
    /// Dead ones included.
    processes: Vec<Process>,
}

impl Snapshot {
    /// The resources of this moment.
    pub fn take() -> Snapshot {
        Snapshot { fds: fds(), threads: threads(), mappings: mappings(), processes: procs::descendants() }
    }

    /// Everything is as it was, at the latest soon: a thread that was joined may still be on its way out.
    pub fn assert_restored(&self) {
        eventually(|| Snapshot::take() == *self);
        let now = Snapshot::take();
        assert_eq!(now.processes, self.processes, "processes are left");
        assert_eq!(now.threads, self.threads, "threads are left");
        assert_eq!(now.fds, self.fds, "descriptors are left");
        assert_eq!(now.mappings, self.mappings, "shared memory is left");
    }
}

/// How many things this process has; for programs that lead no session and make pools by the thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Open descriptors.
    pub fds: usize,
    /// Threads.
    pub threads: usize,
    /// Mappings of files that only exist in memory.
    pub mappings: usize,
    /// Children, dead ones included.
    pub children: usize,
}

impl Count {
    /// The differences of this moment.
    pub fn take() -> Count {
        Count {
            fds: fds().len(),
            threads: threads().len(),
            mappings: mappings().len(),
            children: procs::children(std::process::id()).len(),
        }
    }

    /// The differences when there are none, or after a while: a thread that was joined may still be on its way out.
    pub fn settled(before: Count) -> Count {
        eventually(|| Count::take() == before);
        Count::take()
    }
}

/// The open descriptors, by number.
pub fn fds() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is there");
    let fds = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let target = fs::read_link(entry.path()).ok()?.display().to_string();
        // The directory that is being read is open, too.
        (!target.ends_with("/fd")).then(|| (entry.file_name().display().to_string(), target))
    });
    fds.collect()
}

/// The names of all threads.
pub fn threads() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/task").expect("/proc is there");
    let names = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

fn mappings() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is there");
    maps.lines().filter(|line| line.contains("/memfd:")).map(str::to_owned).collect()
}

/// Memory of this process that is in RAM, in bytes.
pub fn resident_bytes() -> usize {
    let (own, shared) = resident_bytes_of(std::process::id());
    own + shared
}

/// Memory of some process that is in RAM, in bytes: its own, and memory that it shares with others by a memfd; see
/// proc_pid_status(5).
pub fn resident_bytes_of(pid: u32) -> (usize, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc is there, and so is the process");
    let kib = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux 4.5 or later");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    ((kib("RssAnon:") + kib("RssFile:")) << 10, kib("RssShmem:") << 10)
}
