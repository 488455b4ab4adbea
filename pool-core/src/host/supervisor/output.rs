//! The pipes through which the processes' output is heard.

use super::Supervisor;
use crate::error::{Error, Result};
use crate::observe::output::{Lines, OutputStream};
use crate::process::output_pipes::OutputPipes;
use crate::worker::position::Worker;

impl Supervisor {
    /// The host's and the process's ends of new pipes, if the output is heard.
    pub(super) fn output_pipes(&self) -> Result<(Option<OutputPipes>, Option<OutputPipes>)> {
        if self.output.is_none() {
            return Ok((None, None));
        }
        let (readers, writers) = OutputPipes::make().map_err(|error| Error::system("pipes for the output", error))?;
        Ok((Some(readers), Some(writers)))
    }

    /// Has these pipes read; they are the worker's, or the fork server's.
    pub(super) fn hear(&self, worker: Option<Worker>, pipes: Option<OutputPipes>) {
        let (Some(output), Some(OutputPipes { stdout, stderr })) = (&self.output, pipes) else { return };
        for (fd, stream) in [(stdout, OutputStream::Stdout), (stderr, OutputStream::Stderr)] {
            output.add(fd, Lines::new(worker, stream), worker.map(|worker| worker.pid()));
        }
    }

    /// The process has ended.
    pub(super) fn stop_hearing(&self, pid: u32) {
        if let Some(output) = &self.output {
            output.process_ended(pid);
        }
    }
}
