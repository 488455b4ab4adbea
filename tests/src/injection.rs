//! Runs a piece of a check in a process of its own. The N-th system call of a kind fails there, or in its children.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::capture::Capture;
use crate::leaks::Snapshot;
use crate::{procs, seccomp, watchdog};

/// A system call, or those of its uses that the pool is behind.
#[derive(Clone, Copy, Debug)]
pub struct SystemCall {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub number: libc::c_long,
    /// Which uses count, by their arguments.
    pub counts: fn(&[u64; 6]) -> bool,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It says this.
    Says(Errno),
    /// It succeeds, but the process that makes it gets no descriptor any more, neither by this call nor by later ones.
    NoDescriptors,
}

/// How long it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Only the N-th call does.
    Once,
    /// All calls from the N-th on do, as on an old kernel or when a limit is reached.
    ForEver,
}

/// The system call that is to fail, and its error.
#[derive(Clone, Copy)]
pub struct Injection {
    /// The call.
    pub call: SystemCall,
    /// How it fails.
    pub failure: Failure,
    /// How long.
    pub lasting: Lasting,
    /// The first to fail, from 1.
    pub nth: u64,
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Injection { call, failure, lasting, nth } = self;
        write!(f, "{} {nth} {failure:?} {lasting:?}", call.name)
    }
}

impl Injection {
    fn fails(&self, nth: u64) -> bool {
        match self.lasting {
            Lasting::Once => nth == self.nth,
            Lasting::ForEver => nth >= self.nth,
        }
    }
}

/// Why a run says nothing good of the pool.
#[derive(Debug)]
pub enum Obstacle {
    /// Nothing at all: this machine does not let system calls be failed.
    NotPermitted(io::Error),
    /// It has failed, for this reason.
    Failed(String),
}

/// Longer than any run takes, on any machine.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Runs `body` and has calls fail meanwhile; how many did. Nothing of the run is left, and it has said nothing on its
/// standard error.
///
/// # Errors
///
/// See [`Obstacle`].
pub fn run(injection: &Injection, body: impl FnOnce()) -> Result<u64, Obstacle> {
    let stderr = Capture::new();
    let (from_run, to_referee) = io::pipe().expect("a pipe");
    let (from_referee, to_run) = io::pipe().expect("a pipe");
    // SAFETY:
    // - a trial has one thread, so the child may do whatever its parent may.
    match unsafe { fork() }.expect("a process") {
        ForkResult::Child => {
            stderr.become_stderr();
            drop((from_run, to_run));
            let number = injection.call.number;
            let run = || be_run(number, to_referee, from_referee, body);
            let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
            std::process::exit(i32::from(!passed));
        }
        ForkResult::Parent { child } => {
            drop((to_referee, from_referee));
            let mut referee = Referee { injection, from_run, calls: 0, failed: 0, is_over: false };
            let started = referee.start(child, to_run);
            let ended = match &started {
                Ok((process, listener)) => referee.preside(child, process, listener).expect("as the manual says"),
                Err(_) => Ok(waitpid(child, None).expect("it is our child")),
            };
            let text = stderr.text();
            if ended != Ok(WaitStatus::Exited(child, 0)) || !text.is_empty() {
                return Err(Obstacle::Failed(format!("{injection:?}: {ended:?}\n{text}")));
            }
            started.map(|_| referee.failed).map_err(Obstacle::NotPermitted)
        }
    }
}

/// The process of the run: hands its system calls over, and looks for its leaks.
fn be_run(number: libc::c_long, mut to_referee: PipeWriter, mut from_referee: PipeReader, body: impl FnOnce()) {
    watchdog::lead_a_session();
    let before = Snapshot::take();
    let listener = seccomp::put_before_another(number);
    let word = listener.as_ref().map_or_else(|error| -error.raw_os_error().unwrap_or(libc::EPERM), AsRawFd::as_raw_fd);
    to_referee.write_all(&word.to_ne_bytes()).expect("a pipe");
    if from_referee.read_exact(&mut [0]).is_err() {
        return; // it cannot be done here
    }
    drop(listener);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    body();
    // Later calls are not the pool's.
    to_referee.write_all(&[0]).expect("a pipe");
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("as before");
    before.assert_restored();
}

/// Decides on the system calls of a run.
struct Referee<'a> {
    injection: &'a Injection,
    from_run: PipeReader,
    calls: u64,
    failed: u64,
    /// Nothing fails any more.
    is_over: bool,
}

impl Referee<'_> {
    /// Lets the run begin; its process, and the descriptor by which its calls come.
    fn start(&mut self, run: Pid, mut to_run: PipeWriter) -> io::Result<(OwnedFd, OwnedFd)> {
        let process = seccomp::open_process(run.as_raw() as u32)?;
        let mut word = [0; size_of::<RawFd>()];
        self.from_run.read_exact(&mut word)?;
        let number = RawFd::from_ne_bytes(word);
        if number < 0 {
            return Err(io::Error::from_raw_os_error(-number));
        }
        let listener = seccomp::take_descriptor(process.as_fd(), number)?;
        to_run.write_all(&[0])?;
        Ok((process, listener))
    }

    /// Waits until the run is over: how it ended, or the process that hangs.
    fn preside(&mut self, run: Pid, process: &OwnedFd, listener: &OwnedFd) -> io::Result<Result<WaitStatus, String>> {
        let pid = run.as_raw() as u32;
        let deadline = Instant::now() + RUN_MAX;
        let hung = loop {
            let [is_called, has_ended] = wait_for([listener.as_fd(), process.as_fd()])?;
            if is_called {
                self.decide(listener.as_fd())?;
            }
            if has_ended {
                break None;
            }
            if Instant::now() > deadline {
                break Some(format!("hung for {RUN_MAX:?}\n{}", watchdog::describe_processes(pid)));
            }
        };
        procs::of_session(pid).iter().for_each(|process| procs::kill_9(process.pid));
        let status = waitpid(run, None)?;
        Ok(hung.map_or(Ok(status), Err))
    }

    fn decide(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let Some(call) = seccomp::next_call(listener)? else { return Ok(()) };
        let counts = (self.injection.call.counts)(&call.args);
        self.is_over = self.is_over || counts && has_news(self.from_run.as_fd())?;
        let mut errno = None;
        if counts && !self.is_over {
            self.calls += 1;
            if self.injection.fails(self.calls) {
                self.failed += 1;
                match self.injection.failure {
                    Failure::Says(says) => errno = Some(says as i32),
                    Failure::NoDescriptors => seccomp::forbid_descriptors(call.pid)?,
                }
            }
        }
        seccomp::answer(listener, &call, errno)
    }
}

/// Which of them have something, after one has, or after a second.
fn wait_for(fds: [BorrowedFd<'_>; 2]) -> io::Result<[bool; 2]> {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut polled, 1000_u16)?;
    Ok(polled.map(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLIN))))
}

/// Whether it has something now.
fn has_news(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], 0_u16)? > 0)
}
