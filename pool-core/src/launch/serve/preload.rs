//! The preload of a fork server: the user's code in a process that must have one thread when it is over.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{Pid, getpgrp};
use pool_ipc::Descriptors;
use pool_ipc::sys::pidfd_open;

use crate::launch::fork::{Side, fork_unreported};
use crate::launch::messages::ServerReport;
use crate::process::output;
use crate::process::pidfd::{POLL_PAUSE, kill_process, reap};
use crate::process::signals;
use crate::process::socket::Socket;
use crate::worker::preload;

/// Looks for threads that are about to leave: a joined thread may be there for a moment longer.
const THREAD_LOOKS: u32 = 20;

/// Bytes of the names of threads in a report.
const NAMES_BYTES_MAX: usize = 120;

/// Answers the preload request in the lane. Returns the report of it, and the bytes of files and of shared memory that this
/// process has mapped meanwhile: workers see them as their own when they touch them.
pub(super) fn run(lane: Descriptors, socket: Socket, hub: &Descriptors, host: Option<&OwnedFd>) -> (ServerReport, u64) {
    // Counted before and after, since constructors of the program may have started threads and mapped files.
    let (threads, mapped) = (threads_here(), mapped_bytes());
    // Before the user's code: this loop does not look for the host's end while that runs.
    let watch = Watch::begin(host);
    output::defer(true);
    preload::run_one(lane, socket, hub);
    output::defer(false);
    // Before the threads are counted: reaped now, it is no child that a worker could be taken for.
    drop(watch);
    let mut left = BTreeSet::new();
    for _ in 0..THREAD_LOOKS {
        left = threads_here().difference(&threads).copied().collect();
        if left.is_empty() {
            break;
        }
        thread::sleep(POLL_PAUSE);
    }
    if left.is_empty() {
        // Else each worker would write it once more. No other thread is there to keep a lock.
        output::flush_here();
    }
    let name = |thread: &u32| fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok();
    let mut names =
        left.iter().filter_map(name).map(|name| format!("`{}`", name.trim())).collect::<Vec<_>>().join(", ");
    names.truncate(names.floor_char_boundary(NAMES_BYTES_MAX));
    let report = ServerReport::Preloaded { threads: left.len() as u32, names };
    (report, mapped_bytes().saturating_sub(mapped))
}

/// The threads of this process, see proc_pid_task(5); none if they cannot be read.
fn threads_here() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Bytes of mapped files and shared memory, without the pool's own; see proc_pid_maps(5).
fn mapped_bytes() -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let bytes = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (range, inode) = (words.next()?, words.nth(3)?);
        let is_ours = words.next().is_some_and(|path| path.starts_with("/memfd:pool-") && path != ARRAY);
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap_or(0));
        (inode != "0" && !is_ours).then_some(end.saturating_sub(start))
    };
    maps.lines().filter_map(bytes).sum()
}

/// The name of an array in `/proc/self/maps`.
const ARRAY: &str = "/memfd:pool-array";

/// A process that kills this one, and all that it has started, if the host ends: this one cannot look, since the user's code runs
/// in its only thread.
struct Watch(Option<Pid>);

impl Watch {
    /// If the system refuses the process, the preload runs all the same, and a host that ends meanwhile is noticed after it.
    fn begin(host: Option<&OwnedFd>) -> Watch {
        let server = std::process::id();
        let (Some(host), Ok(this)) = (host, pidfd_open(server)) else { return Watch(None) };
        match fork_unreported() {
            Ok(Side::Child) => watch(host, &this, Pid::from_raw(server.cast_signed())),
            Ok(Side::Parent(pid)) => Watch(Some(pid)),
            Err(_) => Watch(None),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill(pid, Signal::SIGKILL);
            // As it was made, see `fork_unreported`.
            let _ = reap(pid, WaitPidFlag::__WALL);
        }
    }
}

/// Waits for the end of one of the two. It takes no memory and no lock: a constructor's thread may have held one at the fork.
fn watch(host: &OwnedFd, server: &OwnedFd, pid: Pid) -> ! {
    loop {
        let mut fds = [host, server].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        let is_over = poll(&mut fds, PollTimeout::NONE).is_ok();
        let [host_is_gone, server_is_gone] = fds.map(|fd| fd.any().unwrap_or(true));
        if is_over && host_is_gone && !server_is_gone {
            let _ = kill_process(server.as_fd(), pid);
            // Where the server could not lead a group this is that of the host's caller.
            if getpgrp() == pid {
                // Itself, too: it is of the server's group, and so are the programs that the preload has started.
                let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
            }
        }
        if is_over {
            signals::exit_now(0);
        }
    }
}
