//! The fork server as the supervisor has it: started, replaced when it dies, and given up with all of its workers.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::Supervisor;
use crate::engine::exit_status;
use crate::error::{Error, ErrorKind, Result};
use crate::host::preload::Preload;
use crate::launch::{Server, ServerEnd, StartMethod};
use crate::process::pidfd::{kill_process, wait_gone};

/// The longest wait for killed processes: the kernel takes about 25 ms for each GiB that one has.
const DEATH_TIME: Duration = Duration::from_secs(10);

impl Supervisor {
    /// The fork server is gone or has stopped, and the kernel kills its workers with it.
    pub(super) fn server_died(&mut self) {
        let (why, end) = self.lose_server();
        self.give_up_server(&why, Some(end));
    }

    /// Ends the rest of the fork server. Returns an error that says why it is given up.
    pub(super) fn lose_server(&mut self) -> (Error, ServerEnd) {
        // A server that never served points to the program: its executable cannot be started a second time.
        let is_up = self.server.as_ref().is_some_and(|server| server.is_up);
        let end = self.stop_server();
        if let Some(error) = self.preload.as_mut().and_then(|preload| preload.lose(end)) {
            return (error, end);
        }
        let error = if is_up {
            Error::new(ErrorKind::System, format!("the fork server {end}"))
        } else {
            let text = format!(
                "the fork server did not come up: a new process of this program's executable {end} before it could serve"
            );
            Error::new(ErrorKind::Unsupported, text)
        };
        (error, end)
    }

    /// Settles the items that the fork server's workers ran, and the launches that it was asked for.
    pub(super) fn give_up_server(&mut self, why: &Error, end: Option<ServerEnd>) {
        let end = end.unwrap_or_else(|| self.stop_server());
        // They were for the server that is gone; its successor is asked anew.
        self.requests.clear();
        let lost: Vec<_> = self.host.with(|engine| {
            let lanes = engine.lanes_by_worker();
            let killed = lanes.filter_map(|(worker, lane)| {
                let pidfd = lane.pidfd()?;
                // By the host, too: a fork server that is stopped cannot take its workers with it.
                let is_killed = kill_process(pidfd.as_fd(), Pid::from_raw(lane.pid as i32));
                // Its replies are settled only when it surely publishes no more.
                let pidfd = pidfd.try_clone().ok().filter(|_| is_killed || end != ServerEnd::OutOfReach);
                Some((worker, lane.pid, pidfd))
            });
            killed.collect()
        });
        self.take_ends();
        self.ended.clear();
        // One deadline for all: they die at the same time.
        let deadline = Instant::now() + DEATH_TIME;
        let cause = end.of_workers();
        for (worker, pid, pidfd) in lost {
            let is_gone = pidfd.is_some_and(|pidfd| {
                let left = deadline.saturating_duration_since(Instant::now()).as_millis();
                wait_gone(pidfd.as_fd(), u16::try_from(left).unwrap_or(u16::MAX))
            });
            // Before its requests are dropped, which tells the owners of their arrays to go on.
            if !is_gone {
                self.host.with(|engine| engine.give_up_loans(worker, pid));
            }
            let status = exit_status(libc::SIGKILL);
            self.ears.process_ended(pid);
            self.host.with(|engine| engine.exited(worker, pid, status, Some(Arc::clone(&cause))));
        }
        // Last, since each failure may break the pool, and then the items above should already have their own errors.
        let mut failed: Vec<_> = std::mem::take(&mut self.launching).into_keys().collect();
        if self.preload.as_mut().is_some_and(Preload::take_failure) {
            // They would be launched at once otherwise, and so would the next server, again and again.
            failed.extend(self.wanted.drain(..));
        }
        for worker in failed {
            self.host.with(|engine| engine.not_launched(worker, why.duplicate()));
        }
    }

    /// Starts a fork server in place of one that is gone.
    pub(super) fn start_again(&mut self) -> Result<()> {
        if self.method == StartMethod::Fork {
            let text = "the fork server died, and only a process without other threads can be forked to replace it";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        self.start_server()
    }

    pub(super) fn start_server(&mut self) -> Result<()> {
        let (pipes, writers) = self.ears.output_pipes()?;
        let mut private = vec![self.host.bell.as_fd()];
        private.extend(self.ears.private());
        private.extend(pipes.as_fds());
        let server = Server::start(self.method, &self.limits, &self.hub, &self.inherited, &private, writers)?;
        self.ears.hear(None, server.pid(), pipes);
        self.server = Some(server);
        // Without it the server must not serve.
        self.begin_preload().inspect_err(|_| _ = self.stop_server())
    }

    pub(super) fn stop_server(&mut self) -> ServerEnd {
        let Some(server) = self.server.take() else { return ServerEnd::Unknown };
        let pid = server.pid();
        let end = server.stop();
        self.ears.process_ended(pid);
        end
    }
}
