//! Processes as /proc shows them, see proc_pid_stat(5).

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One line of `ps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The leader of its session.
    pub session: u32,
    /// `R`, `S`, `T` (stopped), `Z` (zombie) and others.
    pub state: char,
    /// Its name.
    pub name: String,
}

impl Process {
    /// As it is now.
    pub fn get(pid: u32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold some.
        let (head, tail) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        let mut fields = tail.split(' ');
        let state = fields.next()?.chars().next()?;
        let mut numbers = fields.map_while(|field| field.parse().ok());
        let (parent, _group, session) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Process { pid, parent, session, state, name: name.to_owned() })
    }
}

/// All processes.
fn all() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    entries.filter_map(|entry| Process::get(entry.ok()?.file_name().to_str()?.parse().ok()?))
}

/// The processes of a session. Zombies count if their parent belongs to it, too: others are for init to reap.
pub fn of_session(session: u32) -> Vec<Process> {
    let members: Vec<_> = all().filter(|process| process.session == session).collect();
    let is_member = |pid| members.iter().any(|process| process.pid == pid);
    members.iter().filter(|process| process.state != 'Z' || is_member(process.parent)).cloned().collect()
}

/// All that this process has started, directly or not; it leads a session.
pub fn descendants() -> Vec<Process> {
    let me = std::process::id();
    of_session(me).into_iter().filter(|process| process.pid != me).collect()
}

/// The children of a process, dead ones included.
pub fn children(parent: u32) -> Vec<Process> {
    all().filter(|process| process.parent == parent).collect()
}

/// The fork server of the only pool of this process.
pub fn fork_server() -> Process {
    let me = std::process::id();
    let servers: Vec<_> = descendants().into_iter().filter(|process| process.parent == me).collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
    servers.into_iter().next().expect("one")
}

/// The threads of a process, by their own numbers.
pub fn threads_of(pid: u32) -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::get(entry.file_name().to_str()?.parse().ok()?))
}

/// Whether there is such a process that is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    Process::get(pid).is_some_and(|process| process.state != 'Z')
}

/// A descriptor that becomes readable when the process has ended, even if it is no child; see pidfd_open(2).
///
/// # Errors
///
/// The result of the system call.
pub fn pid_fd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY:
    // - the call takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY:
    // - the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Waits until all the processes have ended, for at most so long for each; whether they have.
pub fn wait_until_gone(pid_fds: &[OwnedFd], limit: Duration) -> bool {
    let limit = PollTimeout::try_from(limit).expect("less than a month");
    pid_fds.iter().all(|fd| matches!(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], limit), Ok(1)))
}

/// Sends a signal to a process that may be gone.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// Kills a process with SIGKILL.
pub fn kill_9(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

/// Long enough for everything that happens soon.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; false if it does not hold soon.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
