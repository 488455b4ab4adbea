//! The error of a worker that died.

use std::os::unix::process::ExitStatusExt;

use super::Error;
use crate::process::death::Death;
use crate::process::last_words::LastWords;

impl Error {
    /// The error of the item that a process ran when it died. `memory_limit` is that of the pool's workers.
    pub(crate) fn of_death(death: &Death, memory_limit: Option<u64>) -> Error {
        let Death { status, words, killer, cause, .. } = death;
        // Known for certain, while the status may be a signal that followed from it.
        if let Some(cause) = cause {
            return Error::worker_lost(*status, cause);
        }
        match words.as_deref() {
            // Any other end has another cause, and the panic was caught before.
            Some(LastWords::Panicked(report)) if status.signal() == Some(libc::SIGABRT) => {
                Error::panicked_to_death(*status, report.clone())
            }
            Some(LastWords::StackOverflow) => Error::worker_died(*status, Some("stack overflow")),
            Some(LastWords::MemoryLimit) => Error::out_of_memory(*status, memory_limit),
            Some(LastWords::State(why)) if status.code().is_some() => Error::worker_died(*status, Some(why)),
            _ => match killer {
                Some(sender) => Error::worker_killed(*status, sender),
                None => Error::worker_died(*status, None),
            },
        }
    }
}
