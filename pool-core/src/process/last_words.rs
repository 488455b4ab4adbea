//! The note by which a dying worker tells its host why it died.

use pool_ipc::ProgressWriter;
use serde::{Deserialize, Serialize};

use crate::process::panic::PanicReport;

/// The cause of its death that a dying worker leaves in its lane.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LastWords {
    Panicked(PanicReport),
    StackOverflow,
    MemoryLimit,
    /// The destructor of a state has panicked, as this sentence says: no reply is left for it.
    State(String),
}

impl LastWords {
    /// [`LastWords::StackOverflow`] as bytes, for a signal handler, which cannot allocate.
    pub(crate) const STACK_OVERFLOW: [u8; 1] = [1];
    /// [`LastWords::MemoryLimit`] likewise.
    pub(crate) const MEMORY_LIMIT: [u8; 1] = [2];

    /// Writes them where the host reads them when this worker is gone.
    pub(crate) fn leave(&self, progress: &ProgressWriter) {
        if let Ok(words) = postcard::to_allocvec(self) {
            progress.write_last_words(&words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_handlers_bytes_are_the_enums() {
        assert_eq!(postcard::to_allocvec(&LastWords::StackOverflow).unwrap(), LastWords::STACK_OVERFLOW);
        assert_eq!(postcard::to_allocvec(&LastWords::MemoryLimit).unwrap(), LastWords::MEMORY_LIMIT);
    }
}
