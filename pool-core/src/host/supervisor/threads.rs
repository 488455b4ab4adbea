//! Workers that are threads, as the supervisor has them.

#[cfg(feature = "remote")]
use std::sync::Arc;

use pool_ipc::{Descriptors, HostEnd};

use super::Supervisor;
use crate::error::Result;
use crate::lane::Lane;
#[cfg(feature = "remote")]
use crate::lane::parcels::Parcels;
use crate::launch::messages::Launch;
use crate::launch::threads::Threads;
use crate::process::socket::Socket;
use crate::scheduler::WorkerId;

impl Supervisor {
    /// Starts a worker with both ends of its lane and of its socket. The thread is there when this returns.
    pub(super) fn launch_thread(
        &self,
        threads: &Threads,
        launch: &Launch,
        (end, lane): (HostEnd, Descriptors),
        (ours, theirs): (Socket, Socket),
    ) -> Result<()> {
        // It waits for the thread's first words alone, so a task cannot hold the supervisor up.
        // A courier needs no descriptors, as it is a thread of the host.
        #[cfg(feature = "remote")]
        let parcels = threads.is_remote().then(Arc::<Parcels>::default);
        let (tid, stop) = threads.launch(
            Some(launch),
            lane,
            theirs,
            #[cfg(feature = "remote")]
            parcels.clone(),
        )?;
        let lane = Lane::of_thread(end, tid, stop);
        #[cfg(feature = "remote")]
        let lane = match parcels {
            Some(parcels) => lane.with_parcels(parcels),
            None => lane.with_socket(ours),
        };
        #[cfg(not(feature = "remote"))]
        let lane = lane.with_socket(ours);
        self.host.with(|engine| engine.launched(WorkerId(launch.worker), lane));
        Ok(())
    }

    pub(super) fn take_ends_of_threads(&mut self) {
        for report in self.threads.as_ref().map(Threads::take_ends).unwrap_or_default() {
            self.handle(report, Vec::new());
        }
    }

    /// Ends the threads of a supervisor that never ran.
    pub(super) fn end_threads(&self) {
        // One that has run has none left, and its pool must not turn from closed to terminated here.
        if self.threads.is_some() {
            self.host.terminate();
        }
    }
}
