//! A worker that is a thread of its host: for debuggers, captured test output and sanitizers.
//!
//! It runs the loop of a worker process over a lane like that of one, mapped once more, so all else of the pool is the same. It
//! leaves alone the things of the host: signals, standard streams, limits of memory.

use pool_ipc::{Descriptors, HubWorker, WorkerEnd};

use super::limits::WorkerLimits;
use super::position::{Position, Worker};
use super::{RequestLoop, states};
use crate::attachments::scope;
use crate::process::exit;
use crate::process::fork_check::ForkCheck;
use crate::process::socket::Socket;
use crate::process::standing::Stop;

/// Runs as `worker`, or the preload, in this thread until the host says to leave. Returns the exit code.
pub(crate) fn run(
    worker: Option<Worker>,
    lane: Descriptors,
    socket: Socket,
    hub: &Descriptors,
    settings: &WorkerLimits,
    stop: &Stop,
) -> i32 {
    let opened = (WorkerEnd::open(&lane), HubWorker::open(hub));
    // The mappings stay, and the descriptors count against the limit of the host.
    drop(lane);
    let (Ok(end), Ok(hub)) = opened else { return exit::BAD_LANE };
    // First of all, so that threads which tasks start inherit it.
    if let Some(worker) = worker {
        settings.apply_to_thread(worker.id());
    }
    let (progress, orders, standing) = (end.progress.clone(), end.orders.clone(), stop.standing());
    let position = Position::new(worker, progress, orders, ForkCheck::here(), standing);
    // In the frame of this thread and not leaked, as for a process: a pool may have any number of threads one after the other.
    let code = stop.run(|| {
        position.run(|| {
            let code = RequestLoop::<true>::new(end, socket, hub, &position, standing, None).serve();
            // Also in a worker that was told to end: they would outlive the pool.
            let _ = states::drop_all();
            code
        })
    });
    // Unmapped before the end is told: a pool that is over holds no memory.
    drop(scope::with_table(std::mem::take));
    if code == 0 { stop.code() } else { code }
}
