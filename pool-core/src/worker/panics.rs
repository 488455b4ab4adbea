//! Panics of a worker process, kept for its host.

use pool_ipc::ProgressWriter;

use crate::process::fork_check::ForkCheck;
use crate::process::last_words::LastWords;
use crate::process::panic::{self, PanicReport};

/// Writes each panic to the last words: should it end the process, the host reads there which panic it was.
pub(super) fn keep_panics(progress: ProgressWriter, me: ForkCheck) {
    panic::report_panics_of_this_thread(move |report| {
        if !me.is_here() {
            return; // a forked copy does not have the memory
        }
        let mut report = PanicReport { backtrace: None, ..report.clone() };
        // At a character's boundary, or `truncate` would panic within the panic hook and end the process.
        report.message.truncate(report.message.floor_char_boundary(LAST_MESSAGE_BYTES_MAX));
        LastWords::Panicked(report).leave(&progress);
    });
}

/// The most bytes of a panic's message in the last words. A [`Failure`](crate::lane::messages::Failure) has all of it.
const LAST_MESSAGE_BYTES_MAX: usize = 1024;
