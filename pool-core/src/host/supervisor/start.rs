//! The start of a pool: the fork server and all workers, in the call that makes the pool.

use pool_ipc::sys::monotonic_ns;

use super::{LAUNCHES_AHEAD, News, SERVER_SILENCE_NS, Supervisor, launch_error, not_serving};
use crate::error::Result;
use crate::launch::Server;
use crate::launch::messages::{ServerReport, Step};

impl Supervisor {
    /// Starts the fork server and all workers. Their lanes are made while the server comes up.
    ///
    /// # Errors
    ///
    /// The first failure. Processes that were started before it end when the supervisor is dropped.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.threads.is_some() {
            self.begin_preload_here()?;
        } else {
            self.start_server()?;
        }
        // The scheduler has asked for them already; this carries its actions out.
        self.host.with(|_| ());
        // Here and not in `run`, so that a pool that cannot start fails in the call that makes it.
        self.wanted.extend(self.host.take_launches());
        loop {
            self.mind_preload()?;
            while !self.is_preloading()
                && self.launching.len() < LAUNCHES_AHEAD
                && let Some(worker) = self.wanted.pop_front()
            {
                self.launch(worker)?;
            }
            self.send_requests().map_err(|(_, error)| error)?;
            if self.launching.is_empty() && !self.is_preloading() {
                return Ok(());
            }
            self.await_launch()?;
        }
    }

    fn await_launch(&mut self) -> Result<()> {
        let until = monotonic_ns().saturating_add(SERVER_SILENCE_NS).min(self.preload_look());
        let [_, has_news, has_ended, _] = self.wait_for_news([None, self.control(), self.end_of_server(), None], until);
        // A last word may explain the end, so the socket is read first.
        if !has_news && (has_ended || self.server.as_ref().is_some_and(Server::is_stopped)) {
            return Err(self.lose_server().0);
        }
        match self.report() {
            Ok(News::None) => Ok(()),
            Ok(News::Report(ServerReport::NotServing { errno }, _)) => Err(not_serving(errno)),
            Ok(News::Report(ServerReport::Preloaded { threads, names }, _)) => self.end_preload(threads, &names),
            Ok(News::Report(ServerReport::NotLaunched { step, errno, .. }, _)) => Err(launch_error(step, errno)),
            Ok(News::Report(ServerReport::Launched { pids }, fds)) if fds.len() < pids.len() => {
                Err(launch_error(Step::Pidfd, libc::EMFILE))
            }
            Ok(News::Report(report, fds)) => {
                self.handle(report, fds);
                Ok(())
            }
            Ok(News::End) => Err(self.lose_server().0),
            Err(error) => Err(error),
        }
    }
}
