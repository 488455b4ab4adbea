//! The workers of a fork server: it watches, kills, reaps and reports them.
//!
//! A worker's pidfd (see pidfd_open(2)) tells its end, and not SIGCHLD: the kernel gives a signal to any thread that does not
//! block it, and constructors of the program may have started threads in the server.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::{Pid, getpgrp, getpid, setpgid};
use pool_ipc::sys::pidfd_open;

use crate::launch::control::{Control, Outbox};
use crate::launch::messages::{ServerReport, Step};
use crate::process::pidfd::reap;
use crate::process::signals;

/// The live workers, and the reports that wait to be sent.
pub(super) struct Workers {
    live: Vec<Live>,
    /// Readable when a worker has ended.
    pub(super) ends: Epoll,
    pub(super) reports: Outbox<ServerReport, Rc<OwnedFd>>,
    /// Workers that have ended and cannot be reaped yet.
    withheld: Vec<Pid>,
    /// Code of the user's has run in this process.
    pub(super) has_preloaded: bool,
}

/// One worker. Its process leads a process group.
struct Live {
    worker: u32,
    pid: Pid,
    /// The host is sent the same descriptor.
    pidfd: Rc<OwnedFd>,
}

/// Number of ends that one `epoll_wait` returns.
const ENDS_TOGETHER: usize = 64;

impl Workers {
    pub(super) fn new() -> nix::Result<Workers> {
        let ends = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Workers { live: Vec::new(), ends, reports: Outbox::new(), withheld: Vec::new(), has_preloaded: false })
    }

    /// Ends the server. The workers die with it, even stopped ones (see PR_SET_PDEATHSIG in prctl(2)), but processes that their
    /// tasks have started do not, so these are killed.
    pub(super) fn leave(&self) -> ! {
        for worker in &self.live {
            let _ = killpg(worker.pid, Signal::SIGKILL);
            // The worker itself may have left its group.
            let _ = kill(worker.pid, Signal::SIGKILL);
        }
        // Asked: a task may have left the group, and then it would be that of strangers, the host's for instance.
        if self.has_preloaded && getpgrp() == getpid() {
            // Programs that the preload has started are in this process's own group, and this process ends with them.
            let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
        }
        signals::exit_now(0)
    }

    /// Sends as many reports as there is room for. If one cannot be sent, the server ends: the host notices that, and would wait
    /// for the report for ever.
    pub(super) fn report(&mut self, control: &Control) {
        if self.reports.flush(control).is_err() {
            self.leave()
        }
    }

    pub(super) fn refuse(&mut self, worker: u32, step: Step, errno: Errno) {
        self.reports.push(ServerReport::NotLaunched { worker, step, errno: errno as i32 }, Vec::new());
    }

    /// Kills a worker for a host that has no right to do so. The worker is a child that has not been reaped, so its pid is still
    /// its own.
    pub(super) fn kill(&self, worker: u32, pid: u32) {
        let is_meant = |live: &&Live| live.worker == worker && live.pid.as_raw() as u32 == pid;
        if let Some(live) = self.live.iter().find(is_meant) {
            let _ = kill(live.pid, Signal::SIGKILL);
        }
    }

    /// Watches and reports new workers.
    pub(super) fn add(&mut self, forked: &[(u32, Pid)]) {
        let (mut pids, mut pidfds) = (Vec::new(), Vec::new());
        for &(worker, pid) in forked {
            // The child does this, too, so the group exists before a kill, whichever of the two comes first.
            let _ = setpgid(pid, pid);
            match self.watch(pid) {
                Ok(pidfd) => {
                    let pidfd = Rc::new(pidfd);
                    self.live.push(Live { worker, pid, pidfd: Rc::clone(&pidfd) });
                    pids.push((worker, pid.as_raw() as u32));
                    pidfds.push(pidfd);
                }
                Err(error) => {
                    let _ = kill(pid, Signal::SIGKILL);
                    let _ = reap(pid, WaitPidFlag::empty());
                    self.refuse(worker, Step::Pidfd, Errno::from_raw(error.raw_os_error().unwrap_or_default()));
                }
            }
        }
        if !pids.is_empty() {
            self.reports.push(ServerReport::Launched { pids }, pidfds);
        }
    }

    fn watch(&self, pid: Pid) -> io::Result<OwnedFd> {
        let pidfd = pidfd_open(pid.as_raw() as u32)?;
        self.ends.add(&pidfd, EpollEvent::new(EpollFlags::EPOLLIN, pid.as_raw() as u64))?;
        Ok(pidfd)
    }

    /// True if a report or a reaping must be tried again soon. No descriptor tells when.
    pub(super) fn has_retries(&self) -> bool {
        self.reports.has_refusals() || !self.withheld.is_empty()
    }

    /// Reports the workers that have ended.
    pub(super) fn reap(&mut self) {
        self.withheld.clone().into_iter().for_each(|pid| self.reap_one(pid));
        let mut events = [EpollEvent::empty(); ENDS_TOGETHER];
        loop {
            let count = match self.ends.wait(&mut events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => continue,
                count => count.unwrap_or(0),
            };
            for event in &events[..count] {
                self.reap_one(Pid::from_raw(event.data() as i32));
            }
            if count < ENDS_TOGETHER {
                return;
            }
        }
    }

    fn reap_one(&mut self, pid: Pid) {
        let Some(at) = self.live.iter().position(|live| live.pid == pid) else { return };
        // Kills the processes that its tasks have started. This comes before the reaping, since until then no other process
        // can get the number.
        let _ = killpg(pid, Signal::SIGKILL);
        let status = match reap(pid, WaitPidFlag::WNOHANG) {
            Ok(WaitStatus::Exited(_, code)) => Some(code << 8),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(signal as i32),
            Err(_) => None,
            Ok(_) => {
                // A debugger is told first, and the kernel does not report when it lets go.
                if !self.withheld.contains(&pid) {
                    let _ = self.ends.delete(&*self.live[at].pidfd);
                    self.withheld.push(pid);
                }
                return;
            }
        };
        let Live { worker, pid, pidfd } = self.live.swap_remove(at);
        // Closing the descriptor is not enough, since a worker that has just been forked may still hold it.
        let _ = self.ends.delete(&*pidfd);
        self.withheld.retain(|&other| other != pid);
        self.reports.push(ServerReport::Exited { worker, pid: pid.as_raw() as u32, status }, Vec::new());
    }
}
