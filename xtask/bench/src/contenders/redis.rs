//! Ours on other machines, and its rivals there: all by way of a Redis server of their own, on this machine.

mod bare;
mod far;
mod helper;
mod queues;
mod server;

pub(super) use self::bare::Bare;
pub(super) use self::far::Far;
pub(super) use self::helper::opened;
use self::helper::{AGENT, ANSWERER};
pub(super) use self::queues::{Queue, Rival};
pub(crate) use self::server::is_installed;
use super::note::Note;

pub(super) const CELERY_NOTES: &[Note] =
    &[Note { cases: &[], text: "Python's queue over Redis: two workers, tasks acknowledged late, results by `get`" }];
pub(super) const RQ_NOTES: &[Note] =
    &[Note { cases: &[], text: "Python's queue over Redis: two workers that fork for each job; at most 200 calls" }];
pub(super) const DASK_NOTES: &[Note] = &[Note {
    cases: &[],
    text: "Dask distributed: its own scheduler in place of Redis, two worker processes; at most 300 calls",
}];

/// Does the work of such a process, if this is one.
pub(crate) fn serve_if_asked() -> bool {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next();
    let mut url = || arguments.next().expect("a server's address");
    match kind.as_deref() {
        Some(AGENT) => pool_redis::agent(&url()).workers(1).run().expect("an ordinary end"),
        Some(ANSWERER) => bare::answer(&url()).expect("an ordinary end"),
        _ => return false,
    }
    true
}
