//! Finds the likely sender of a SIGKILL that the pool has not sent: the kernel, for want of memory, or another process.
//!
//! The kernel counts its kills for want of memory for each control group, and for the whole machine. It counts before it
//! kills, so an unchanged count shows that the kernel did not kill. A count that has risen may be about another process.

use std::fs;
use std::sync::{Mutex, PoisonError};

/// The count at the last look of any pool of this process.
#[derive(Debug)]
struct Count {
    path: String,
    kills: u64,
}

static LAST: Mutex<Option<Count>> = Mutex::new(None);

/// Reads the count with which the next death is compared, unless that was done before.
pub(crate) fn watch() {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    // Once: a later look would forget kills that no death has been compared with.
    if last.is_none() {
        *last = find_count();
    }
}

/// The likely sender of a SIGKILL that has just ended a worker, as a text for users.
pub(crate) fn sender() -> &'static str {
    match LAST.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(count) => describe(&mut count.kills, read_count(&count.path)),
        None => UNKNOWN,
    }
}

const UNKNOWN: &str = "not by this pool, possibly out of memory";

fn describe(last: &mut u64, now: Option<u64>) -> &'static str {
    let Some(now) = now else { return UNKNOWN };
    // Kept for the next death, which this kill is not to blame for.
    if std::mem::replace(last, now) == now { "not by this pool" } else { "probably out of memory" }
}

/// The count of this process's control group (cgroups(7), version 2 or 1), or else of the machine.
fn find_count() -> Option<Count> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // The own group first, since the count of the whole machine rises for anybody.
    let paths = group_files(&groups).into_iter().chain(["/proc/vmstat".to_owned()]);
    paths.into_iter().find_map(|path| Some(Count { kills: read_count(&path)?, path }))
}

fn read_count(path: &str) -> Option<u64> {
    count_in(&fs::read_to_string(path).ok()?)
}

/// The files that may hold the count, from the lines of proc_pid_cgroup(5).
fn group_files(groups: &str) -> Vec<String> {
    let file = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        match rest.split_once(':')? {
            // Version 2 has one tree for all controllers, and names none.
            ("", path) => Some(format!("/sys/fs/cgroup{path}/memory.events")),
            (controllers, path) if controllers.split(',').any(|name| name == "memory") => {
                Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control"))
            }
            _ => None,
        }
    };
    groups.lines().filter_map(file).collect()
}

/// The number of the line `oom_kill`.
fn count_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_each_of_the_files() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
        assert_eq!(count_in(events), Some(2));
        assert_eq!(count_in(control), Some(7));
        assert_eq!(count_in("pgfault 1\noom_kill 0\n"), Some(0));
        // Kernels before 4.13 do not count.
        assert_eq!(count_in("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn the_files_are_those_of_the_own_group() {
        assert_eq!(group_files("0::/a.slice/b\n"), ["/sys/fs/cgroup/a.slice/b/memory.events"]);
        let hybrid = "9:name=systemd:/\n4:cpu,memory:/job\n3:cpuset:/\n0::/\n";
        let files = ["/sys/fs/cgroup/memory/job/memory.oom_control", "/sys/fs/cgroup//memory.events"];
        assert_eq!(group_files(hybrid), files);
        assert_eq!(group_files("nonsense"), Vec::<String>::new());
    }

    #[test]
    fn only_a_count_that_has_risen_speaks_for_memory() {
        let mut last = 3;
        assert_eq!(describe(&mut last, Some(3)), "not by this pool");
        assert_eq!(describe(&mut last, Some(4)), "probably out of memory");
        assert_eq!(describe(&mut last, Some(4)), "not by this pool", "that was about the death before");
        assert_eq!(describe(&mut last, None), UNKNOWN);
        assert_eq!(describe(&mut last, Some(5)), "probably out of memory");
    }
}
