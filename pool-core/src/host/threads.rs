//! The host's own threads.

use std::thread;

use nix::sys::signal::SigSet;

use crate::error::{Error, Result};

/// Starts a thread of this name.
///
/// # Errors
///
/// The system refuses a thread.
pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    let guarded = move || {
        // A signal that the program handles must arrive in one of its own threads.
        let _ = SigSet::all().thread_block();
        body();
    };
    thread::Builder::new()
        .name(name)
        .spawn(guarded)
        .map_err(|error| Error::system("starting a thread of the pool", error))
}
