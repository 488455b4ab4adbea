//! The preload: one request that a fork server answers as a worker does, before it forks any.

use pool_ipc::Descriptors;

use super::links::open;
use super::panics::keep_panics;
use super::position::Position;
use super::{RequestLoop, arrays, leave};
use crate::process::exit;
use crate::process::fork_check::ForkCheck;
use crate::process::panic;
use crate::process::signals;
use crate::process::socket::Socket;

/// Runs one request of the host's in this process, which is no worker. Processes that it forks afterwards have what that leaves in
/// its memory.
pub(crate) fn run_one(lane: Descriptors, socket: Socket, hub: &Descriptors) {
    let Some((end, hub)) = open(lane, hub) else { leave(exit::BAD_LANE) };
    let me = ForkCheck::here();
    let standing = me.standing();
    // Not entered: code of the user's that asks is in no worker, and at no item.
    let position = Position::new(None, end.progress.clone(), end.orders.clone(), me, standing);
    signals::report_deaths(end.progress.clone(), me);
    keep_panics(end.progress.clone(), me);
    if let Err(code) = RequestLoop::<false>::new(end, socket, hub, &position, standing, None).serve_one() {
        leave(code);
    }
    // A panic of the server's own is printed, as in any program.
    panic::stop_reporting();
    // Workers are given arrays anew. Those that the task has kept stay mapped.
    arrays::forget_all();
}
