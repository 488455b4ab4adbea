//! The thread that minds the processes: launches, deaths, time limits, and the end of it all.
//!
//! It sleeps in `poll` on the control socket (deaths come there, from the fork server, which is the workers' parent),
//! and on a bell that other threads ring when they have something for it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::MsgFlags;
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Descriptors, Header, HostEnd};

use crate::engine::exit_status;
use crate::error::{Error, ErrorKind, Result};
use crate::lane::Lane;
use crate::launch::{LOOK_EVERY, Server, StartMethod, kill_process, wait_gone};
use crate::limits::Settings;
use crate::message::{Launch, Report, Step, call};
use crate::scheduler::{Nanos, WorkerId};
use crate::shared::Shared;

#[derive(Debug)]
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    method: StartMethod,
    hub: Descriptors,
    settings: Settings,
    server: Option<Server>,
    /// Lanes whose processes are being made.
    launching: HashMap<WorkerId, HostEnd>,
    /// When the fork server should have said something, since there is something to say.
    due: Option<Nanos>,
}

/// A fork server that has been silent for so long, and is found stopped, is given up.
const SILENCE: Nanos = 1_000_000_000;

/// Launches that may be under way at once: the socket's buffers are bounded, and the answers are read in between.
const LAUNCHES_AHEAD: usize = 16;

impl Supervisor {
    pub(crate) fn new(shared: Arc<Shared>, method: StartMethod, hub: Descriptors, settings: Settings) -> Self {
        Supervisor { shared, method, hub, settings, server: None, launching: HashMap::new(), due: None }
    }

    /// Starts the fork server and all workers, whose lanes are made while it comes up.
    ///
    /// # Errors
    ///
    /// The first that went wrong. What had been started goes when the supervisor is dropped.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.server = Some(Server::start(self.method, &self.settings, &self.hub, self.shared.bell.as_fd())?);
        // The scheduler has wanted them from the start; this has it say so.
        self.shared.with(|_| ());
        let mut wanted = self.shared.take_launches().into_iter();
        loop {
            let free = LAUNCHES_AHEAD - self.launching.len();
            wanted.by_ref().take(free).try_for_each(|worker| self.launch(worker))?;
            if self.launching.is_empty() {
                return Ok(());
            }
            self.await_launch()?;
        }
    }

    fn await_launch(&mut self) -> Result<()> {
        match self.report()? {
            Some((Report::NotServing { errno }, _)) => Err(not_serving(errno)),
            Some((Report::NotLaunched { step, errno, .. }, _)) => Err(launch_error(step, errno)),
            Some((Report::Launched { pids }, fds)) if fds.len() < pids.len() => {
                Err(launch_error(Step::Pidfd, libc::EMFILE))
            }
            Some((report, fds)) => {
                self.handle(report, fds);
                Ok(())
            }
            None => Err(self.server_error()),
        }
    }

    fn report(&mut self) -> Result<Option<(Report, Vec<OwnedFd>)>> {
        let Some(server) = &mut self.server else { return Ok(None) };
        let report = server.control.receive(MsgFlags::empty());
        let report = report.map_err(|error| Error::system("hearing from the fork server", error))?;
        server.is_up |= report.is_some();
        Ok(report)
    }

    /// Why the server is gone: if it has said nothing yet, its own word may be waiting.
    fn server_error(&self) -> Error {
        let Some(server) = self.server.as_ref().filter(|server| !server.is_up) else {
            return Error::new(ErrorKind::System, "the fork server died");
        };
        match server.control.receive::<Report>(MsgFlags::MSG_DONTWAIT) {
            Ok(Some((Report::NotServing { errno }, _))) => not_serving(errno),
            _ => {
                let text = "the fork server did not come up: a new process of this program's executable ended before it \
                    could serve";
                Error::new(ErrorKind::Unsupported, text)
            }
        }
    }

    /// Does so until the pool is over.
    pub(crate) fn run(mut self) {
        loop {
            for worker in self.shared.take_launches() {
                if let Err(error) = self.launch(worker) {
                    self.launching.remove(&worker);
                    self.shared.with(|engine| engine.not_launched(worker, error));
                }
            }
            let (is_finished, awaits_death) = self.shared.with(|engine| {
                engine.route();
                (engine.scheduler.is_finished(), engine.awaits_death())
            });
            if is_finished {
                break;
            }
            self.wait(awaits_death);
        }
        self.stop_server();
        self.shared.supervisor_left();
    }

    /// Sleeps until something is to be done, and takes in what the fork server says.
    fn wait(&mut self, awaits_death: bool) {
        if !awaits_death && self.launching.is_empty() {
            self.due = None;
        } else if self.due.is_none() {
            self.due = Some(monotonic_ns().saturating_add(SILENCE));
        }
        let control = self.server.as_ref().map(|server| server.control.as_fd());
        let is_readable = loop {
            let until = || self.shared.supervisor_sleeps().min(self.due.unwrap_or(Nanos::MAX));
            match wait_for([Some(self.shared.bell.as_fd()), control], until()) {
                // Whoever takes replies in has looked at the clock meanwhile; the lock is left to him.
                Ok([false, false]) if until() > monotonic_ns() => {}
                Ok(is_readable) => break is_readable,
                Err(_) => {
                    thread::sleep(LOOK_EVERY);
                    break [true, self.server.as_ref().is_some_and(|server| server.control.has_news())];
                }
            }
        };
        if is_readable[0] {
            let _ = self.shared.bell.read();
        }
        if is_readable[1] {
            self.due = None;
            match self.report() {
                Ok(Some((report, fds))) => self.handle(report, fds),
                Ok(None) | Err(_) => self.server_died(&self.server_error()),
            }
        } else if self.due.is_some_and(|due| due <= monotonic_ns()) {
            self.due = None;
            if self.server.as_ref().is_some_and(Server::is_stopped) {
                self.server_died(&self.server_error());
            }
        }
    }

    fn launch(&mut self, worker: WorkerId) -> Result<()> {
        if self.server.is_none() {
            self.server = Some(self.start_again()?);
        }
        let (end, lane) = Lane::memory().map_err(|error| Error::memory("for a worker", error))?;
        let incarnation = self.shared.with(|engine| engine.next_incarnation(worker));
        let server = self.server.as_ref().expect("started above");
        self.launching.insert(worker, end);
        let request = Launch { worker: worker as u32, incarnation };
        server.control.send(&request, &lane.as_fds()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.server_error(),
            _ => Error::system("asking for a worker", error),
        })
    }

    fn handle(&mut self, report: Report, fds: Vec<OwnedFd>) {
        match report {
            Report::NotServing { errno } => self.server_died(&not_serving(errno)),
            Report::Launched { pids } => {
                let mut fds = fds.into_iter();
                for (worker, pid) in pids {
                    self.launched(worker as WorkerId, pid, fds.next());
                }
            }
            Report::NotLaunched { worker, step, errno } => {
                self.launching.remove(&(worker as WorkerId));
                self.shared.with(|engine| engine.not_launched(worker as WorkerId, launch_error(step, errno)));
            }
            Report::Exited { worker, pid, status } => {
                self.shared.with(|engine| engine.exited(worker as WorkerId, pid, exit_status(status)));
            }
        }
    }

    fn launched(&mut self, worker: WorkerId, pid: u32, pidfd: Option<OwnedFd>) {
        let Some(mut end) = self.launching.remove(&worker) else { return };
        if let Some(pidfd) = pidfd {
            let lane = Lane::new(end, pid, pidfd);
            self.shared.with(|engine| engine.launched(worker, lane));
        } else {
            // There is no keeping a process that cannot be killed for sure. It leaves as soon as it reads this.
            let _ = end.calls.send(&Header { kind: call::QUIT, ..Header::default() }, &[], 0);
            end.wake_worker();
            let error = launch_error(Step::Pidfd, libc::EMFILE);
            self.shared.with(|engine| engine.not_launched(worker, error));
        }
    }

    /// The fork server is gone, or as good as gone, and by the kernel's hand its workers with it.
    fn server_died(&mut self, why: &Error) {
        self.stop_server();
        let lost: Vec<_> = self.shared.with(|engine| {
            let lanes = engine.lanes_by_worker();
            lanes.map(|(worker, lane)| (worker, lane.pid, lane.pidfd().try_clone().ok())).collect()
        });
        for (worker, pid, pidfd) in lost {
            // What it published is settled only when it surely publishes no more.
            if let Some(pidfd) = pidfd {
                kill_process(pidfd.as_fd(), Pid::from_raw(pid as i32));
                wait_gone(pidfd.as_fd(), DEATH_MS);
            }
            self.shared.with(|engine| engine.exited(worker, pid, exit_status(libc::SIGKILL)));
        }
        for (worker, _) in std::mem::take(&mut self.launching) {
            self.shared.with(|engine| engine.not_launched(worker, why.duplicate()));
        }
    }

    fn start_again(&self) -> Result<Server> {
        if self.method == StartMethod::Fork {
            let text = "the fork server died, and only a process without other threads can be forked to replace it";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        Server::start(self.method, &self.settings, &self.hub, self.shared.bell.as_fd())
    }

    fn stop_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// A supervisor that never ran leaves nothing behind either.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop_server();
    }
}

/// Milliseconds in which a killed process is gone, even a large one.
const DEATH_MS: u16 = 10_000;

/// Which of the descriptors have something, after one has or the time has come.
fn wait_for(fds: [Option<BorrowedFd<'_>>; 2], until: Nanos) -> nix::Result<[bool; 2]> {
    let mut polled: Vec<_> = fds.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let left = (until < Nanos::MAX).then(|| until.saturating_sub(monotonic_ns()));
    let timeout = left.map(|left| TimeSpec::from_duration(Duration::from_nanos(left)));
    match nix::poll::ppoll(&mut polled, timeout, None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    let mut results = polled.iter().map(|fd| fd.any().unwrap_or(false));
    Ok(fds.map(|fd| fd.is_some() && results.next().unwrap_or(false)))
}

fn not_serving(errno: i32) -> Error {
    Error::system("signalfd of the fork server", io::Error::from_raw_os_error(errno))
}

fn launch_error(step: Step, errno: i32) -> Error {
    let doing = match step {
        Step::Lane => "passing shared memory to a worker",
        Step::Fork => "fork of a worker",
        Step::Pidfd => "pidfd_open of a worker",
    };
    Error::system(doing, io::Error::from_raw_os_error(errno))
}
