//! Where processes are made: the fork server by its host, workers by the fork server. `fork` stands in a file of its own.
//!
//! A fork of a process with threads copies locks that are never released, and takes as long as its memory is large; and the
//! replacement of a crashed worker is always a late fork. So a small process of one thread, started early, forks all
//! workers: the fork server. With `StartMethod::Fork` it is a copy of the host; with `StartMethod::Spawn` its workers are
//! started anew from the executable.

#![allow(unsafe_code)]

pub(crate) mod control;
mod fork;
pub(crate) mod messages;
pub(crate) mod serve;
pub(crate) mod spawn;
pub(crate) mod threads;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use pool_ipc::Descriptors;
use pool_ipc::sys::{off_standard_streams, pidfd_open, pidfd_send_signal};

use crate::error::{Error, ErrorKind, Result};
use crate::launch::control::Control;
use crate::launch::fork::{Side, fork};
use crate::launch::messages::{Greeting, Role};
use crate::launch::spawn::Inherited;
use crate::process::exit;
use crate::process::output;
use crate::process::output_pipes::OutputPipes;
use crate::process::pidfd::{POLL_PAUSE, kill_process, reap, wait_gone};
use crate::process::signals;
use crate::task::table;
use crate::worker::limits::WorkerLimits;

/// The way in which worker processes are made.
///
/// Each worker has the host's arguments, environment, working directory and umask of the moment when the pool was made, and
/// standard input is empty; [a guide](crate::guide::inherits) lists for each method all that a worker inherits. No worker gets rights
/// that its host has given up before it made the pool.
///
/// # Examples
///
/// ```
/// use std::sync::OnceLock;
/// use pool_core::prelude::*;
///
/// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
///
/// #[pool_task]
/// fn has_table() -> bool { TABLE.get().is_some() }
///
/// # fn main() -> pool_core::Result<()> {
/// TABLE.set(vec![1, 2, 3]).unwrap();
/// // Workers begin with fresh memory; copies of the host would have the table.
/// let pool = Pool::builder().workers(1).start_method(StartMethod::ForkServer).build()?;
/// assert!(!pool.apply(has_table::Task, ())?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A small process, started from this program's executable when the pool is made, forks the workers. They begin
    /// with fresh memory: statics have their initial values, and nothing of `main` has run. Safe whatever threads and
    /// locks the host has, and as fast for a host of many gigabytes as for a small one.
    #[default]
    ForkServer,
    /// The workers are copies of the host as it was when the pool was made, its memory included. Only for a host that
    /// has no other thread at that moment, since a copy of a lock that another thread holds is never released; anything
    /// else is an [`ErrorKind::Unsupported`] error. A pool has threads, too, so this works for one pool at a time: the
    /// next can be made when the one before is dropped. Likewise in a task: a worker that has, or had, threads cannot be
    /// copied, while pools of the other methods can be made in any task.
    Fork,
    /// Each worker is started from the executable on its own: slower, and nothing at all is shared between workers, not
    /// even the layout of their address space.
    Spawn,
}

// ---- the fork server, from the host's side -------------------------------------------------------------------------

/// The running fork server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) control: Control,
    /// A first message has come from it.
    pub(crate) is_up: bool,
    /// It runs code of the user's, and will not hear that it is to go.
    pub(crate) is_busy: bool,
    pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

impl Server {
    /// Starts a fork server, which prints to these pipes. A copy of the host closes the `private` descriptors.
    pub(crate) fn start(
        method: StartMethod,
        settings: &WorkerLimits,
        hub: &Descriptors,
        inherited: &Inherited,
        private: &[BorrowedFd<'_>],
        pipes: Option<OutputPipes>,
    ) -> Result<Server> {
        let fingerprint = table::fingerprint()?;
        let host = std::process::id();
        let (ours, theirs) = Control::pair().map_err(|error| Error::system("socketpair", error))?;
        if method == StartMethod::Fork {
            return Server::fork(
                host,
                settings,
                hub,
                &[private, &[inherited.cwd.as_fd()]].concat(),
                pipes,
                ours,
                theirs,
            );
        }
        if !serve::is_in_executable() {
            let text = "the code of this pool is in a shared library, and a new process would not run it; \
                use `StartMethod::Fork`";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let nonce = spawn::nonce();
        let (spawn, umask) = (method == StartMethod::Spawn, inherited.umask);
        let role = Role::Server { host, spawn, umask, settings: settings.clone() };
        // Sent before the process exists, which so finds the greeting in its socket at once.
        let [host_fd, worker_fd] = hub.as_fds();
        ours.send(&Greeting { nonce, fingerprint, role }, &[host_fd, worker_fd, inherited.cwd.as_fd()])
            .map_err(|error| Error::system("greeting the fork server", error))?;
        let pid = inherited.start(nonce, &theirs.into_fd(), pipes.as_ref())?;
        Server::adopt(pid, ours)
    }

    /// Forks the host into a fork server. The copy closes the pool's own descriptors: those of the hub, of which it gets
    /// others, and the `private` ones.
    fn fork(
        host: u32,
        settings: &WorkerLimits,
        hub: &Descriptors,
        private: &[BorrowedFd<'_>],
        pipes: Option<OutputPipes>,
        ours: Control,
        theirs: Control,
    ) -> Result<Server> {
        let threads = threads_that_stay();
        if threads > 1 {
            let text = format!(
                "this process has {threads} threads, and a copy of it could wait for ever for a lock that another thread \
                 holds; make the pool before the threads and after the end of any other pool, which has threads, too, or \
                 use `StartMethod::ForkServer`"
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let copy = |fd: &OwnedFd| {
            let copy = fd.try_clone().and_then(off_standard_streams);
            copy.map_err(|error| Error::system("sharing memory with workers", error))
        };
        let hub_copy = Descriptors { host: copy(&hub.host)?, worker: copy(&hub.worker)? };
        output::flush_here();
        match fork().map_err(|error| Error::system("fork", error))? {
            Side::Child => {
                drop(ours);
                for fd in hub.as_fds().iter().chain(private) {
                    // SAFETY:
                    // - this copy of the host never returns to the code that owns the descriptor.
                    unsafe { libc::close(fd.as_raw_fd()) };
                }
                signals::open_standard_streams();
                signals::close_stdin();
                // The copy has the host's streams, where its output would be mixed with the host's.
                if let Some(pipes) = pipes {
                    pipes.become_standard_streams();
                }
                serve::serve(theirs, hub_copy, host, settings, None)
            }
            Side::Parent(pid) => Server::adopt(pid, ours),
        }
    }

    fn adopt(pid: Pid, control: Control) -> Result<Server> {
        match pidfd_open(pid.as_raw() as u32) {
            Ok(pidfd) => Ok(Server { control, is_up: false, is_busy: false, pid, pidfd }),
            Err(error) => {
                // A server without a pidfd cannot be watched. It leaves when its socket closes.
                drop(control);
                let _ = reap(pid, WaitPidFlag::empty());
                Err(Error::system("pidfd_open of the fork server", error))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// True if a signal has stopped it, see proc_pid_stat(5).
    pub(crate) fn is_stopped(&self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            // No /proc, or it hides processes of other users, as the server is for a host that has given up its rights.
            let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            return matches!(waitid(Id::PIDFd(self.pidfd.as_fd()), flags), Ok(WaitStatus::Stopped(..)));
        };
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Closes the socket of the server, which then ends its workers and itself, and kills it if it does not. Returns how it
    /// ended.
    pub(crate) fn stop(self) -> ServerEnd {
        let Server { control, pid, pidfd, is_busy, .. } = self;
        // Closing is not enough, since a copy of the host may have the socket, too.
        control.shut_down();
        drop(control);
        let mut is_killed = false;
        if is_busy {
            // One that exits closes its socket a moment before it is gone, and its own end is to be told, not a kill.
            wait_gone(pidfd.as_fd(), EXITING_MS);
            let ended =
                waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
            is_killed = matches!(ended, Ok(WaitStatus::StillAlive)) && kill_process(pidfd.as_fd(), pid);
            if ended.is_ok() {
                // With the programs that it has started. The group's number is still its own, since nobody has reaped it.
                let _ = killpg(pid, Signal::SIGKILL);
            }
        }
        if !wait_gone(pidfd.as_fd(), GRACE_MS) {
            is_killed = kill_process(pidfd.as_fd(), pid);
            if !is_killed {
                // A host that has given up its rights may still continue a process of its session, see kill(2). The server then
                // finds its socket closed.
                let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGCONT);
            }
            if !wait_gone(pidfd.as_fd(), GRACE_MS) {
                return ServerEnd::OutOfReach;
            }
        }
        // ECHILD: other code of the host has reaped it, or the host ignores SIGCHLD.
        match reap(pid, WaitPidFlag::WNOHANG) {
            _ if is_killed => ServerEnd::Unresponsive,
            Ok(WaitStatus::Signaled(_, signal, _)) => ServerEnd::Signaled(signal),
            Ok(WaitStatus::Exited(_, code)) => ServerEnd::Exited(code),
            _ => ServerEnd::Unknown,
        }
    }
}

/// How a fork server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerEnd {
    Signaled(Signal),
    Exited(i32),
    /// It did not answer, and the pool has killed it.
    Unresponsive,
    /// It does not answer, and the pool has no right to kill it.
    OutOfReach,
    /// Other code of the host has taken the status.
    Unknown,
}

/// The subject is "the fork server".
impl fmt::Display for ServerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ServerEnd::Signaled(signal) => write!(f, "was killed by signal {} ({signal})", signal as i32),
            ServerEnd::Exited(code) => match exit::meaning(code) {
                Some(meaning) => write!(f, "ended: {meaning} (exit code {code})"),
                None => write!(f, "ended with exit code {code}"),
            },
            ServerEnd::Unresponsive => write!(f, "did not answer and was killed"),
            ServerEnd::OutOfReach => write!(f, "does not answer, and this process has no right to kill it"),
            ServerEnd::Unknown => write!(f, "died"),
        }
    }
}

impl ServerEnd {
    /// The cause of death of the workers.
    pub(crate) fn of_workers(self) -> Arc<str> {
        let workers = match self {
            ServerEnd::OutOfReach => "its workers run on until it is continued or killed",
            _ => "and its workers with it",
        };
        format!("the fork server {self}, {workers}").into()
    }
}

/// Number of looks for other threads before a fork is refused: `std` joins scoped threads before they have left, so a joined
/// thread may still be there for a moment.
const THREAD_LOOKS: u32 = 20;

/// Number of threads of this process, after those that are about to leave have had time to do so.
fn threads_that_stay() -> usize {
    let mut threads = 1;
    for _ in 0..THREAD_LOOKS {
        threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads == 1 {
            break;
        }
        thread::sleep(POLL_PAUSE);
    }
    threads
}

/// Milliseconds in which a process that has begun to exit is gone, as a rule.
const EXITING_MS: u16 = 20;

/// Milliseconds in which a fork server that was told to go has gone, unless it is stopped.
const GRACE_MS: u16 = 2000;
