//! The end of a worker's process, as far as the host knows it.

use std::process::ExitStatus;
use std::sync::Arc;

use crate::process::last_words::LastWords;

#[derive(Clone, Debug, Default)]
pub(crate) struct Death {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    /// The cause, where the status does not tell it.
    pub(crate) cause: Option<Arc<str>>,
    pub(crate) words: Option<Arc<LastWords>>,
    /// The sender of the SIGKILL that ended it, in words.
    pub(crate) killer: Option<&'static str>,
    /// When it began its last chunk, or its last item if that had a time limit, on the monotonic clock.
    pub(crate) since: Option<u64>,
}
