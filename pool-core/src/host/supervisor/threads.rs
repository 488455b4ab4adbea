//! Workers that are threads, as the supervisor has them.

use pool_ipc::{Descriptors, HostEnd};

use super::Supervisor;
use crate::error::Result;
use crate::lane::Lane;
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
        let (tid, stop) = threads.launch(Some(launch), lane, theirs)?;
        let lane = Lane::of_thread(end, tid, stop);
        // Arrays do not go to another machine.
        let lane = if threads.is_remote() { lane } else { lane.with_socket(ours) };
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
