//! The preload as the supervisor minds it.
//!
//! No worker is asked for before it has ended well. If it fails, [`build`](crate::PoolBuilder::build) does; after that, all workers
//! that wait for the server count as failed starts, so that the next attempt follows after a pause, and the last allowed one
//! breaks the pool.

use pool_ipc::sys::monotonic_ns;

use super::{Supervisor, link};
use crate::error::{Error, Result};
use crate::host::preload::Preload;
use crate::lane::Lane;
use crate::launch::messages::ServerRequest;
use crate::units::Nanos;

impl Supervisor {
    /// Whether the fork server runs its preload, and so can fork no worker yet.
    pub(super) fn is_preloading(&self) -> bool {
        self.preload.as_ref().is_some_and(Preload::runs)
    }

    /// When to look at the preload next.
    pub(super) fn preload_look(&self) -> Nanos {
        let pause = self.preload.as_ref().and_then(Preload::pause);
        pause.map_or(Nanos::MAX, |pause| monotonic_ns().saturating_add(pause))
    }

    /// Asks the new fork server for the preload, if there is one.
    pub(super) fn begin_preload(&mut self) -> Result<()> {
        let (Some(preload), Some(server)) = (&mut self.preload, &mut self.server) else { return Ok(()) };
        let ((end, socket), (theirs, their_socket)) = link("the preload")?;
        let pidfd =
            server.pidfd.try_clone().map_err(|error| Error::system("a descriptor of the fork server", error))?;
        // Written before the server is told of the lane, so that it finds the request there.
        preload.begin(Lane::new(end, server.pid(), pidfd).with_socket(socket));
        // From here on it does not hear that it is to go.
        server.is_busy = true;
        self.requests.push(ServerRequest::Preload, vec![theirs.host, theirs.worker, their_socket.into_fd()]);
        Ok(())
    }

    /// Runs the preload in a thread of its own, where workers are threads: it is once in the memory that they share.
    pub(super) fn begin_preload_here(&mut self) -> Result<()> {
        let (Some(preload), Some(threads)) = (&mut self.preload, &self.threads) else { return Ok(()) };
        let ((end, socket), (theirs, their_socket)) = link("the preload")?;
        let (tid, stop) = threads.launch(
            None,
            theirs,
            their_socket,
            #[cfg(feature = "remote")]
            None,
        )?;
        preload.begin(Lane::of_thread(end, tid, stop).with_socket(socket));
        Ok(())
    }

    /// Looks how far the preload is.
    ///
    /// # Errors
    ///
    /// The fork server is to be given up for this reason.
    pub(super) fn mind_preload(&mut self) -> Result<()> {
        let Some(preload) = &mut self.preload else { return Ok(()) };
        let minded = preload.mind();
        // A thread tells of its end by its answer alone.
        if self.threads.is_some() && (minded.is_err() || preload.has_answered()) {
            preload.stop_thread();
            return minded.and_then(|()| preload.end(0, ""));
        }
        minded
    }

    /// The fork server has run the preload, and has so many threads more than before, of these names.
    ///
    /// # Errors
    ///
    /// As [`mind_preload`](Supervisor::mind_preload).
    pub(super) fn end_preload(&mut self, threads: u32, names: &str) -> Result<()> {
        self.preload.as_mut().map_or(Ok(()), |preload| preload.end(threads, names))?;
        // Not where it has failed: threads that are left may keep it from hearing.
        if let Some(server) = &mut self.server {
            server.is_busy = false;
        }
        Ok(())
    }

    /// Workers that wait for the preload and are not wanted any more need not wait for its end.
    pub(super) fn withdraw_unwanted(&mut self) {
        let wanted = &mut self.wanted;
        self.host.with(|engine| {
            wanted.retain(|worker| {
                let is_wanted = engine.is_wanted(*worker);
                if !is_wanted {
                    engine.withdraw_launch(*worker);
                }
                is_wanted
            });
        });
    }
}
