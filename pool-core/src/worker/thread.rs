//! A worker that is a thread of its host: for debuggers, captured test output and sanitizers.
//!
//! It runs the loop of a worker process over a lane like that of one, mapped once more, so all else of the pool is the same. It
//! leaves alone the things of the host: signals, standard streams, limits of memory.

use std::sync::Arc;

use pool_ipc::Descriptors;

#[cfg(feature = "remote")]
use super::courier::{Courier, Route};
use super::limits::WorkerLimits;
use super::links::open;
use super::position::{Position, Worker};
use super::{RequestLoop, states};
use crate::attachments::scope;
#[cfg(feature = "remote")]
use crate::lane::parcels::Parcels;
use crate::process::exit;
use crate::process::fork_check::ForkCheck;
use crate::process::socket::Socket;
use crate::process::standing::Stop;

/// The parts of a worker that is a thread.
pub(crate) struct WorkerThread<'t> {
    /// None of the preload.
    pub(crate) worker: Option<Worker>,
    pub(crate) lane: Descriptors,
    pub(crate) socket: Socket,
    pub(crate) hub: &'t Descriptors,
    pub(crate) settings: &'t WorkerLimits,
    pub(crate) stop: &'t Arc<Stop>,
    /// The way to other machines, if they run the items.
    #[cfg(feature = "remote")]
    pub(crate) route: Option<(Arc<Route>, Arc<Parcels>)>,
}

impl WorkerThread<'_> {
    /// Runs in this thread until the host says to leave. Returns the exit code.
    pub(crate) fn run(self) -> i32 {
        let WorkerThread { worker, lane, socket, hub, settings, stop, .. } = self;
        let Some((end, hub)) = open(lane, hub) else { return exit::BAD_LANE };
        // First of all, so that threads which tasks start inherit it.
        if let Some(worker) = worker {
            settings.apply_to_thread(worker.id());
        }
        let (progress, orders, standing) = (end.progress.clone(), end.orders.clone(), stop.standing());
        let position = Position::new(worker, progress, orders, ForkCheck::here(), standing);
        // In the frame of this thread and not leaked, as for a process: a pool may have any number of threads one after the other.
        let code = stop.run(|| {
            position.run(|| {
                #[cfg_attr(not(feature = "remote"), expect(unused_mut, reason = "the courier is added"))]
                let mut requests = RequestLoop::<true>::new(end, socket, hub, &position, standing, None);
                #[cfg(feature = "remote")]
                {
                    requests.courier = self.route.map(|(route, parcels)| Courier::new(route, parcels, stop));
                }
                let code = requests.serve();
                // Also in a worker that was told to end: they would outlive the pool.
                let _ = states::drop_all();
                code
            })
        });
        // Unmapped before the end is told: a pool that is over holds no memory.
        drop(scope::with_table(std::mem::take));
        if code == 0 { stop.code() } else { code }
    }
}
