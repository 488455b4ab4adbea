//! The list of contenders.

mod floor;
pub(crate) mod ipc_channel;
mod local;
pub(crate) mod note;
mod numpy;
mod pool;
mod procspawn;
mod python;
mod rayon;
pub(crate) mod redis;
pub(crate) mod ringfire;
mod tokio;

use self::note::Note;
use crate::contender::Contender;

/// A contender before it is started.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) start: fn() -> Box<dyn Contender>,
    pub(crate) notes: &'static [Note],
}

/// Ours, which all others are compared with.
pub(crate) const OURS: &str = "pool";
/// The least that the machine allows.
pub(crate) const FLOOR: &str = "floor";

pub(crate) const ENTRIES: [Entry; 13] = [
    Entry { name: OURS, start: || Box::<pool::PoolCore>::default(), notes: &[] },
    Entry { name: FLOOR, start: || Box::<floor::Floor>::default(), notes: floor::NOTES },
    Entry { name: "rayon", start: || Box::<rayon::Rayon>::default(), notes: rayon::NOTES },
    Entry { name: "tokio", start: || Box::<tokio::Tokio>::default(), notes: tokio::NOTES },
    Entry { name: "ringfire", start: || Box::<ringfire::Ringfire>::default(), notes: ringfire::NOTES },
    Entry { name: "procspawn", start: || Box::<procspawn::Procspawn>::default(), notes: procspawn::NOTES },
    Entry { name: "ipc-channel", start: || Box::<ipc_channel::IpcChannel>::default(), notes: ipc_channel::NOTES },
    Entry { name: "python-pool", start: || Box::<python::Python>::default(), notes: python::NOTES },
    Entry { name: "numpy", start: || Box::<numpy::Numpy>::default(), notes: numpy::NOTES },
    Entry { name: "local", start: || Box::<local::Local>::default(), notes: local::NOTES },
    Entry { name: "celery", start: || Box::new(redis::Queue::new(redis::Rival::Celery)), notes: redis::CELERY_NOTES },
    Entry { name: "rq", start: || Box::new(redis::Queue::new(redis::Rival::Rq)), notes: redis::RQ_NOTES },
    Entry { name: "dask", start: || Box::new(redis::Queue::new(redis::Rival::Dask)), notes: redis::DASK_NOTES },
];

pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Why it cannot take part on this machine.
pub(crate) fn absence(name: &str) -> Option<&'static str> {
    match name {
        "python-pool" if !python::has("multiprocessing.pool") => Some("there is no python3 with multiprocessing"),
        "numpy" if !python::has("multiprocessing.shared_memory, numpy") => Some("there is no python3 with numpy"),
        "celery" if !python::has("celery, redis") => Some("there is no python3 with celery and redis"),
        "rq" if !python::has("rq") => Some("there is no python3 with rq"),
        "dask" if !python::has("dask.distributed") => Some("there is no python3 with dask.distributed"),
        _ => None,
    }
}
