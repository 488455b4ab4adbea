//! What a process has open, compared before and after: descriptors, threads, shared memory, other processes.

use std::collections::BTreeMap;
use std::fs;

use crate::procs::{self, Process, eventually};

/// What this process has at some time.
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
    /// What there is now.
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
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}
