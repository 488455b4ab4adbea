//! The supervisor: the host's thread that minds processes, their launches, deaths and time limits, and the end of the pool.
//!
//! It sleeps in `poll` on the control socket and on a bell. The fork server, which is the workers' parent, tells of deaths on
//! the socket; other threads use the bell when they have something for it.

mod fork_server;
mod preload;
mod start;
mod threads;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::MsgFlags;
use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Descriptors, Header, HostEnd};

use crate::engine::exit_status;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::ears::{Ears, HeardPipes};
use crate::host::preload::Preload;
use crate::lane::Lane;
use crate::lane::messages::Request;
use crate::launch::control::{self, Outbox, SEND_PAUSE};
use crate::launch::messages::{Launch, ServerReport, ServerRequest, Step, launch_error, not_serving};
use crate::launch::spawn::Inherited;
use crate::launch::threads::Threads;
use crate::launch::{Server, StartMethod};
use crate::process::pidfd::{POLL_PAUSE, wait_gone};
use crate::process::poll::wait_for;
use crate::process::socket::Socket;
use crate::scheduler::WorkerId;
use crate::units::Nanos;
use crate::worker::limits::WorkerLimits;
use crate::worker::position::Worker;

#[derive(Debug)]
pub(crate) struct Supervisor {
    host: Arc<Host>,
    method: StartMethod,
    hub: Arc<Descriptors>,
    limits: WorkerLimits,
    /// The state that each fork server begins with, the first and those that replace it.
    inherited: Inherited,
    server: Option<Server>,
    /// In place of a server, where workers are threads.
    pub(crate) threads: Option<Threads>,
    /// Workers that need a process, in the order in which they get one.
    wanted: VecDeque<WorkerId>,
    /// Lanes of processes that are being made. Not a hash map, which would draw the seed of this thread before `Fork`
    /// copies it.
    launching: BTreeMap<WorkerId, Launching>,
    requests: Outbox<ServerRequest, OwnedFd>,
    /// Readable when a worker has ended: a fork server that is stopped does not report it. It is made after the first server,
    /// which must not inherit it, and left out where the system refuses it.
    ends: Option<Epoll>,
    /// Processes that have ended and that the fork server has not reported yet.
    ended: BTreeSet<u32>,
    /// The time by which the fork server should have spoken, while it has something to report.
    due: Option<Nanos>,
    ears: Ears,
    pub(crate) preload: Option<Preload>,
}

/// The host's side of a process that is being made.
#[derive(Debug)]
struct Launching {
    end: HostEnd,
    socket: Socket,
    incarnation: u32,
    pipes: HeardPipes,
}

/// A fork server that should have spoken, has been silent for so long, and is found stopped, is given up.
const SERVER_SILENCE_NS: Nanos = 1_000_000_000;

/// Launches under way at once, at most: each holds a lane and a descriptor, and the fork server may be stopped.
const LAUNCHES_AHEAD: usize = 16;

/// Reports taken in before the supervisor looks at anything else.
const REPORTS_TOGETHER: usize = 64;

impl Supervisor {
    pub(crate) fn new(
        host: Arc<Host>,
        method: StartMethod,
        hub: Arc<Descriptors>,
        limits: WorkerLimits,
        inherited: Inherited,
        ears: Ears,
    ) -> Self {
        Supervisor {
            host,
            method,
            hub,
            limits,
            inherited,
            server: None,
            threads: None,
            wanted: VecDeque::new(),
            launching: BTreeMap::new(),
            requests: Outbox::new(),
            ends: None,
            ended: BTreeSet::new(),
            due: None,
            ears,
            preload: None,
        }
    }

    /// The next report of the fork server, if one has come.
    fn report(&mut self) -> Result<News> {
        let Some(server) = &mut self.server else { return Ok(News::None) };
        match server.control.receive(MsgFlags::MSG_DONTWAIT) {
            Ok(Some((report, fds))) => {
                // Any report shows that it serves, so its later end is not taken for a failure to start.
                server.is_up = true;
                Ok(News::Report(report, fds))
            }
            Ok(None) => Ok(News::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(News::None),
            Err(error) => Err(Error::system("hearing from the fork server", error)),
        }
    }

    /// Minds the processes until the pool is over.
    pub(crate) fn run(mut self) {
        loop {
            if let Err(error) = self.mind_preload() {
                self.give_up_server(&error, None);
            }
            self.wanted.extend(self.host.take_launches());
            self.launch_wanted();
            self.forget_arrays();
            while let Err((worker, error)) = self.send_requests() {
                self.not_launched(worker, error);
            }
            let (is_finished, awaits_death, kills) = self.host.with(|engine| {
                engine.route();
                (engine.is_finished(), engine.awaits_death(), engine.take_kills())
            });
            // Asked after the replies of this round: the last exit may just have been taken in.
            if is_finished {
                break;
            }
            if !kills.is_empty() {
                for (worker, pid) in kills {
                    self.requests.push(ServerRequest::Kill { worker: worker.0, pid }, Vec::new());
                }
                // They are sent at the top of the loop.
                continue;
            }
            self.wait(awaits_death);
        }
        self.stop_server();
        self.threads = None;
        self.host.forgotten.close();
        self.host.supervisor_left();
    }

    /// Has workers unmap the arrays whose last handle is gone. The host's own memory is unmapped here, too.
    fn forget_arrays(&self) {
        let arrays = self.host.forgotten.take();
        if !arrays.is_empty() {
            self.host.with(|engine| engine.forget_arrays(arrays.iter().map(|(id, _)| *id)));
        }
    }

    /// Asks for the next processes, if they are still wanted when it is their turn.
    fn launch_wanted(&mut self) {
        if self.is_preloading() {
            return self.withdraw_unwanted();
        }
        while !self.is_preloading()
            && self.launching.len() < LAUNCHES_AHEAD
            && let Some(worker) = self.wanted.pop_front()
        {
            // Asked when it is its turn: with many in line the pool may have shrunk or closed since.
            if !self.host.with(|engine| engine.is_wanted(worker)) {
                self.host.with(|engine| engine.withdraw_launch(worker));
            } else if let Err(error) = self.launch(worker) {
                self.not_launched(worker, error);
            }
        }
    }

    fn not_launched(&mut self, worker: WorkerId, error: Error) {
        self.launching.remove(&worker);
        self.host.with(|engine| engine.not_launched(worker, error));
    }

    fn control(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.server.as_ref().map(|server| (server.control.as_fd(), self.requests.events()))
    }

    /// The server's pidfd. Its socket closes at its end, too, unless a process that a constructor's thread has forked has it.
    fn end_of_server(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.server.as_ref().map(|server| (server.pidfd.as_fd(), PollFlags::POLLIN))
    }

    /// Sleeps until something is to be done, and takes in the fork server's reports.
    fn wait(&mut self, awaits_death: bool) {
        // Only a fork server that has something to report can be late with it.
        let has_server_work =
            || awaits_death || !self.launching.is_empty() || !self.ended.is_empty() || self.is_preloading();
        if self.server.is_none() || !has_server_work() {
            self.due = None;
        } else if self.due.is_none() {
            self.due = Some(monotonic_ns().saturating_add(SERVER_SILENCE_NS));
        }
        // Descriptors in flight are limited, and the kernel does not tell when it takes more of them.
        let again = if self.requests.has_refusals() {
            monotonic_ns().saturating_add(SEND_PAUSE.as_nanos() as Nanos)
        } else {
            self.preload_look()
        };
        let is_ready = loop {
            let until = || self.host.supervisor_sleeps().min(self.due.unwrap_or(Nanos::MAX)).min(again);
            let bell = Some((self.host.bell.as_fd(), PollFlags::POLLIN));
            let ends = self.ends.as_ref().map(|ends| (ends.0.as_fd(), PollFlags::POLLIN));
            match self.wait_for_news([bell, self.control(), self.end_of_server(), ends], until()) {
                // A thread that takes replies in has looked at the clock meanwhile, and the lock is left to it.
                [false, false, false, false] if until() > monotonic_ns() => {}
                is_ready => break is_ready,
            }
        };
        if is_ready[3] {
            self.take_ends();
        }
        if is_ready[0] {
            let _ = self.host.bell.read();
            self.take_ends_of_threads();
        }
        // Reports before the server's end: its last ones are still in the socket then.
        if is_ready[1] {
            self.due = None;
            self.take_reports();
        } else if is_ready[2] {
            self.server_died();
        } else if self.due.is_some_and(|due| due <= monotonic_ns()) {
            self.due = None;
            if self.server.as_ref().is_some_and(Server::is_stopped) {
                self.server_died();
            }
        }
    }

    fn take_reports(&mut self) {
        // Bounded: thousands of workers that die in a row must not keep time limits waiting.
        for _ in 0..REPORTS_TOGETHER {
            match self.report() {
                Ok(News::None) => return,
                Ok(News::Report(report, fds)) => self.handle(report, fds),
                Ok(News::End) | Err(_) => return self.server_died(),
            }
        }
    }

    /// Tells which descriptors are ready, after one is or the time has come.
    fn wait_for_news(&self, fds: [Option<(BorrowedFd<'_>, PollFlags)>; 4], until: Nanos) -> [bool; 4] {
        wait_for(fds, until).unwrap_or_else(|_| {
            // The system refuses memory for `poll`: everything is looked at from time to time instead.
            thread::sleep(POLL_PAUSE);
            let server = self.server.as_ref();
            let has_ended = server.is_some_and(|server| wait_gone(server.pidfd.as_fd(), 0));
            [true, server.is_some_and(|server| server.control.has_news()), has_ended, true]
        })
    }

    /// Has the kernel tell of the worker's end here, too.
    fn watch(&mut self, pid: u32, pidfd: &OwnedFd) {
        if self.ends.is_none() {
            self.ends = control::epoll().ok();
        }
        if let Some(ends) = &self.ends {
            // A worker that cannot be added is still reported by the fork server.
            let _ = ends.add(pidfd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, pid.into()));
        }
    }

    /// Notes the workers that have ended.
    fn take_ends(&mut self) {
        let Some(ends) = &self.ends else { return };
        let mut events = [EpollEvent::empty(); REPORTS_TOGETHER];
        // To the end: each is told once, and a rest would make the descriptor readable for ever.
        while let Ok(count @ 1..) = ends.wait(&mut events, EpollTimeout::ZERO) {
            self.ended.extend(events[..count].iter().map(|event| event.data() as u32));
        }
    }

    fn launch(&mut self, worker: WorkerId) -> Result<()> {
        if self.server.is_none() && self.threads.is_none() {
            self.start_again()?;
        }
        if self.is_preloading() {
            self.wanted.push_front(worker);
            return Ok(());
        }
        let ((end, ours), (lane, theirs)) = link("a worker")?;
        let (pipes, writers) = self.ears.worker_pipes()?;
        let incarnation = self.host.with(|engine| engine.next_incarnation(worker));
        let launch = Launch { worker: worker.0, incarnation };
        if let Some(threads) = &self.threads {
            return self.launch_thread(threads, &launch, (end, lane), (ours, theirs));
        }
        // Before the request: the report may come as soon as it is sent.
        self.launching.insert(worker, Launching { end, socket: ours, incarnation, pipes });
        let request = ServerRequest::Launch(launch);
        let mut fds = vec![lane.host, lane.worker, theirs.into_fd()];
        fds.extend(writers);
        self.requests.push(request, fds);
        Ok(())
    }

    /// Sends the fork server as many requests as its socket takes.
    ///
    /// # Errors
    ///
    /// A worker that cannot be asked for, and the reason.
    fn send_requests(&mut self) -> std::result::Result<(), (WorkerId, Error)> {
        let Some(server) = &self.server else { return Ok(()) };
        match self.requests.flush(&server.control) {
            Ok(()) => Ok(()),
            // The end of the socket will be found when it is read, perhaps behind a last word.
            Err((_, error)) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Ok(())
            }
            Err((ServerRequest::Launch(Launch { worker, .. }), error)) => {
                Err((WorkerId(worker), Error::system("asking for a worker", error)))
            }
            // Without the server it is killed for sure.
            Err((ServerRequest::Kill { .. } | ServerRequest::Preload, _)) => {
                self.server_died();
                Ok(())
            }
        }
    }

    fn handle(&mut self, report: ServerReport, fds: Vec<OwnedFd>) {
        match report {
            ServerReport::NotServing { errno } => self.give_up_server(&not_serving(errno), None),
            ServerReport::Preloaded { threads, names } => {
                if let Err(error) = self.end_preload(threads, &names) {
                    self.give_up_server(&error, None);
                }
            }
            ServerReport::Launched { pids } => {
                let mut fds = fds.into_iter();
                for (worker, pid) in pids {
                    self.launched(WorkerId(worker), pid, fds.next());
                }
            }
            ServerReport::NotLaunched { worker, step, errno } => {
                self.not_launched(WorkerId(worker), launch_error(step, errno));
            }
            ServerReport::Exited { worker, pid, status } => {
                // The kernel told of this end before the report, so it must not be noted after it.
                self.take_ends();
                // Only ends without a report make the fork server late.
                self.ended.remove(&pid);
                let cause = status.is_none().then(|| NO_STATUS.into());
                let status = exit_status(status.unwrap_or_default());
                self.ears.process_ended(pid);
                self.host.with(|engine| engine.exited(WorkerId(worker), pid, status, cause));
            }
        }
    }

    fn launched(&mut self, worker: WorkerId, pid: u32, pidfd: Option<OwnedFd>) {
        // A launch that has been given up: its server was replaced, and the process died with it.
        let Some(Launching { mut end, socket, incarnation, pipes }) = self.launching.remove(&worker) else { return };
        if let Some(pidfd) = pidfd {
            self.watch(pid, &pidfd);
            // Here and not at the launch: a line is told with the pid, which nobody knew before.
            self.ears.hear(Some(Worker::of_process(worker.0 as usize, incarnation, pid)), pid, pipes);
            let lane = Lane::new(end, pid, pidfd).with_socket(socket);
            self.host.with(|engine| engine.launched(worker, lane));
        } else {
            // A process without a pidfd cannot be killed for sure, so it is told to leave.
            let _ = end.requests.send(&Header { kind: Request::Quit.kind(), ..Header::default() }, &[], 0);
            end.wake_worker();
            let error = launch_error(Step::Pidfd, libc::EMFILE);
            self.host.with(|engine| engine.not_launched(worker, error));
        }
    }
}

/// A new lane and socket for `whom`: the host's ends, and the others.
fn link(whom: &str) -> Result<((HostEnd, Socket), (Descriptors, Socket))> {
    let (end, lane) = Lane::memory().map_err(|error| Error::memory(&format!("for {whom}"), error))?;
    let (ours, theirs) = Socket::pair().map_err(|error| Error::system(&format!("socketpair for {whom}"), error))?;
    Ok(((end, ours), (lane, theirs)))
}

/// The result of one look at the control socket.
enum News {
    None,
    Report(ServerReport, Vec<OwnedFd>),
    /// The fork server has closed its end.
    End,
}

/// A supervisor that never ran leaves no process or thread behind either.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop_server();
        // Behind the processes, whose last lines it waits for.
        self.ears.close();
        self.end_threads();
    }
}

/// The cause of a death if something else has taken the exit status.
const NO_STATUS: &str = "its worker ended, and its exit status is lost: something in the fork server, such as a thread that a \
    constructor of this program starts, waits for all children there";
