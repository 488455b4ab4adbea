//! Where processes are made: the fork server by its host, workers by the fork server. `fork` stands nowhere else.

#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recv, sendmsg, shutdown, socketpair,
};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid};
use pool_ipc::Descriptors;
use pool_ipc::sys::{pidfd_open, pidfd_send_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::fork_server;
use crate::limits::Settings;
use crate::message::{Greeting, Role};
use crate::output;
use crate::signals;
use crate::table;

/// How worker processes come to be.
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
    /// else is an [`ErrorKind::Unsupported`] error.
    Fork,
    /// Each worker is started from the executable on its own: slower, and nothing at all is shared between workers, not
    /// even the layout of their address space.
    Spawn,
}

/// What a forked process finds itself to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Child,
    Parent(Pid),
}

/// Forks the calling process. Safe to go on in the child only if this process has one thread; what the parent buffered
/// must have been written, or both will write it.
pub(crate) fn fork() -> nix::Result<Side> {
    // SAFETY:
    // - in a process of one thread, which the callers see to, the child may do whatever the parent may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}

/// The variable that tells a new process to look for a greeting in its standard input. Other versions of this crate in the
/// program look for their own.
pub(crate) const MARKER: &str = concat!("POOL_CORE_SERVE_", env!("CARGO_PKG_VERSION"));

/// Starts this program's executable once more, to do what the greeting says instead of running `main`. `socket` becomes
/// its standard input. See proc(5) on `/proc/self/exe`, which is this executable even after its file was replaced.
fn executable(nonce: u64, socket: OwnedFd) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pool-server").env(MARKER, nonce.to_string()).stdin(Stdio::from(socket));
    command
}

/// A number that a marker left over in the environment will not have.
fn nonce() -> u64 {
    pool_ipc::sys::monotonic_ns() ^ (u64::from(std::process::id()) << 40)
}

// ---- the fork server, from the host's side -------------------------------------------------------------------------

/// The running fork server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) control: Control,
    /// It has said something.
    pub(crate) is_up: bool,
    pid: Pid,
    pidfd: OwnedFd,
}

impl Server {
    /// `bell` is the host's own: a copy of the host gives it up.
    pub(crate) fn start(
        method: StartMethod,
        settings: &Settings,
        hub: &Descriptors,
        bell: BorrowedFd<'_>,
    ) -> Result<Server> {
        let fingerprint = table::fingerprint()?;
        let host = std::process::id();
        let (ours, theirs) = Control::pair()?;
        if method == StartMethod::Fork {
            return Server::fork(host, settings, (hub, bell), ours, theirs);
        }
        if !fork_server::is_in_executable() {
            let text = "the code of this pool is in a shared library, and a new process would not run it; \
                use `StartMethod::Fork`";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let nonce = nonce();
        let role = Role::Server { host, spawn: method == StartMethod::Spawn, settings: settings.clone() };
        // The greeting waits in the socket before the process exists, so it need not wait for the greeting.
        ours.send(&Greeting { nonce, fingerprint, role }, &hub.as_fds())
            .map_err(|error| Error::system("greeting the fork server", error))?;
        let child = executable(nonce, theirs.0).spawn().map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::NotFound { " (is /proc mounted?)" } else { "" };
            Error::system(&format!("starting the fork server, /proc/self/exe{hint}"), error)
        })?;
        Server::adopt(Pid::from_raw(child.id() as i32), ours)
    }

    /// A copy of the host serves.
    fn fork(
        host: u32,
        settings: &Settings,
        (hub, bell): (&Descriptors, BorrowedFd<'_>),
        ours: Control,
        theirs: Control,
    ) -> Result<Server> {
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads > 1 {
            let text = format!(
                "this process has {threads} threads, and a copy of it could wait for ever for a lock that another thread \
                 holds; make the pool before the threads, or use `StartMethod::ForkServer`"
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        output::flush_here();
        match fork().map_err(|error| Error::system("fork", error))? {
            Side::Child => {
                drop(ours);
                let own = |fd: BorrowedFd<'_>| {
                    // SAFETY:
                    // - this process has a copy of the descriptor of its own;
                    // - the object that owns the number, the supervisor's or the pool's, is neither used nor dropped here.
                    unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }
                };
                drop(own(bell));
                let hub = Descriptors::from_fds(hub.as_fds().map(own).into_iter()).expect("there are two");
                fork_server::serve(theirs, hub, host, settings, None)
            }
            Side::Parent(pid) => Server::adopt(pid, ours),
        }
    }

    fn adopt(pid: Pid, control: Control) -> Result<Server> {
        match pidfd_open(pid.as_raw() as u32) {
            Ok(pidfd) => Ok(Server { control, is_up: false, pid, pidfd }),
            Err(error) => {
                // Without its descriptor there is no watching it, and it leaves when the socket closes.
                drop(control);
                let _ = reap(pid, WaitPidFlag::empty());
                Err(Error::system("pidfd_open of the fork server", error))
            }
        }
    }

    /// Whether somebody has stopped it, see proc_pid_stat(5).
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Lets the server go: it ends its workers and itself as soon as its socket is closed.
    pub(crate) fn stop(self) {
        let Server { control, pid, pidfd, .. } = self;
        // A copy of the host may have the socket, too, so closing it here would not be noticed.
        let _ = shutdown(control.0.as_raw_fd(), Shutdown::Both);
        drop(control);
        if !wait_gone(pidfd.as_fd(), GRACE_MS) {
            kill_process(pidfd.as_fd(), pid);
            wait_gone(pidfd.as_fd(), GRACE_MS);
        }
        // ECHILD: the host waits for any child, or ignores SIGCHLD, and somebody was quicker.
        let _ = reap(pid, WaitPidFlag::WNOHANG);
    }
}

/// See waitpid(2).
pub(crate) fn reap(pid: Pid, flags: WaitPidFlag) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(pid, Some(flags)) {
            Err(Errno::EINTR) => {}
            reaped => return reaped,
        }
    }
}

/// Kills a process that may be gone.
pub(crate) fn kill_process(pidfd: BorrowedFd<'_>, pid: Pid) {
    let sent = pidfd_send_signal(pidfd, libc::SIGKILL);
    // Some sandboxes do not know the call. The moment after the look is too short for another process to get the number.
    if sent.is_err() && !wait_gone(pidfd, 0) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Milliseconds in which a fork server that was told to go has gone, unless it is stopped.
const GRACE_MS: u16 = 2000;

/// Time between two looks where there is no waiting: a process that has forbidden itself descriptors (RLIMIT_NOFILE of
/// 0) is refused `poll`, too.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether the process is gone in time; a zombie is.
pub(crate) fn wait_gone(pidfd: BorrowedFd<'_>, limit_ms: u16) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::from(limit_ms)) {
            Err(Errno::EINTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => break,
        }
    }
    // A process that has forbidden itself descriptors (RLIMIT_NOFILE of 0) may not wait, but it may look.
    let is_gone = || match waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
    {
        Ok(status) => status != WaitStatus::StillAlive,
        // No child of this process.
        Err(_) => pidfd_send_signal(pidfd, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)),
    };
    (0..=limit_ms).any(|_| {
        let is_gone = is_gone();
        if !is_gone {
            thread::sleep(Duration::from_millis(1));
        }
        is_gone
    })
}

// ---- workers, from the fork server's side --------------------------------------------------------------------------

/// Starts an executable of its own for one worker, in a process that has just been forked.
pub(crate) fn exec_worker(fingerprint: u64, role: Role, lane: &Descriptors, hub: &Descriptors) -> io::Error {
    let nonce = nonce();
    let sent = Control::pair().map_err(io::Error::other).and_then(|(ours, theirs)| {
        ours.send(&Greeting { nonce, fingerprint, role }, &[lane.as_fds(), hub.as_fds()].concat())?;
        Ok(theirs.0)
    });
    match sent {
        Ok(socket) => {
            signals::hold_interrupts();
            executable(nonce, socket).arg0("pool-worker").exec()
        }
        Err(error) => error,
    }
}

// ---- the control socket --------------------------------------------------------------------------------------------

/// One end of a socket that keeps messages apart and carries descriptors, see unix(7).
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

/// Longer than any message.
const MESSAGE_BYTES_MAX: usize = 256;
/// More than the descriptors of any message take, with what stands before them.
const CONTROL_BYTES_MAX: usize = 128;

impl Control {
    pub(crate) fn pair() -> Result<(Control, Control)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|error| Error::system("socketpair", error))?;
        Ok((Control(one), Control(other)))
    }

    /// Whether this process was started with such a socket as its standard input, in which a greeting of this number
    /// waits.
    ///
    /// # Errors
    ///
    /// That cannot be said.
    pub(crate) fn stdin_has_greeting(nonce: u64) -> nix::Result<bool> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let length = loop {
            match recv(libc::STDIN_FILENO, &mut bytes, flags) {
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                // Closed; a file; a socket of somebody else's.
                Err(Errno::EBADF | Errno::ENOTSOCK | Errno::EAGAIN | Errno::ENOTCONN | Errno::ECONNRESET) => {
                    return Ok(false);
                }
                Err(errno) => return Err(errno),
            }
        };
        let greeting = postcard::from_bytes::<Greeting>(&bytes[..length]);
        Ok(greeting.is_ok_and(|greeting| greeting.nonce == nonce))
    }

    /// The socket that is this process's standard input, moved out of the way.
    pub(crate) fn from_stdin() -> io::Result<Control> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Control(socket))
    }

    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights };
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], rights, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Whether [`Control::receive`] would return at once.
    pub(crate) fn has_news(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.0.as_raw_fd(), &mut [0], flags) != Err(Errno::EAGAIN)
    }

    /// The next message and those of its descriptors for which there was room, the first ones; `None` at the end, when the
    /// other side is gone.
    pub(crate) fn receive<M: DeserializeOwned>(&self, flags: MsgFlags) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let (length, fds) = loop {
            match self.receive_bytes(&mut bytes, flags) {
                // The other side closed its end with messages unread, which is said once; what it had sent is still there.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(error) => return Err(error.into()),
                Ok(received) => break received,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&bytes[..length]).map_err(io::Error::other)?;
        Ok(Some((message, fds)))
    }

    /// See recvmsg(2) and cmsg(3). `nix` has this, too, but loses the descriptors of a message some of whose were cut off.
    fn receive_bytes(&self, bytes: &mut [u8], flags: MsgFlags) -> nix::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [0_usize; CONTROL_BYTES_MAX / size_of::<usize>()];
        let mut slice = IoSliceMut::new(bytes);
        // SAFETY:
        // - all zeroes are a valid `msghdr`.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = ((&raw mut slice).cast(), 1);
        (header.msg_control, header.msg_controllen) = (space.as_mut_ptr().cast(), size_of_val(&space));
        let flags = (flags | MsgFlags::MSG_CMSG_CLOEXEC).bits();
        // SAFETY:
        // - an `IoSliceMut` is laid out as an `iovec`, and both buffers are as long as said.
        let length = Errno::result(unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags) })?;
        let mut fds = Vec::new();
        // SAFETY:
        // - the kernel has filled in the header.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY:
        // - it is null or points to a control message within `space`, which is aligned for it.
        while let Some(message) = unsafe { next.as_ref() } {
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                // SAFETY:
                // - no preconditions.
                let before = unsafe { libc::CMSG_LEN(0) } as usize;
                // SAFETY:
                // - as above.
                let data = unsafe { libc::CMSG_DATA(next) }.cast::<i32>();
                let count = (message.cmsg_len - before) / size_of::<i32>();
                // SAFETY:
                // - the message says that it has so many descriptors, and is aligned for more than an `i32`.
                let rights = unsafe { std::slice::from_raw_parts(data, count) };
                // SAFETY:
                // - the kernel has just made these descriptors for this process, and nobody else knows them.
                fds.extend(rights.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
            // SAFETY:
            // - as above.
            next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        }
        Ok((length as usize, fds))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
