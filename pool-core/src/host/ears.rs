//! The pipes by which a pool hears of its processes: of their standard streams, and of their spans and events.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::hearing::Hearing;
use crate::error::{Error, Result};
#[cfg(feature = "tracing")]
use crate::observe::forwarded::Frames;
use crate::observe::output::{Lines, OutputStream};
use crate::process::output_pipes::OutputPipes;
use crate::worker::position::Worker;

/// The threads that read such pipes, of those that the program listens to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ears {
    pub(crate) output: Option<Arc<Hearing<Lines>>>,
    #[cfg(feature = "tracing")]
    pub(crate) records: Option<Arc<Hearing<Frames>>>,
}

/// The host's ends of the pipes of a process.
#[derive(Debug)]
pub(crate) struct HeardPipes {
    output: Option<OutputPipes>,
    #[cfg(feature = "tracing")]
    records: Option<OwnedFd>,
}

impl Ears {
    /// Pipes for the output of a process.
    ///
    /// # Errors
    ///
    /// The system refuses descriptors.
    pub(crate) fn output_pipes(&self) -> Result<(HeardPipes, Option<OutputPipes>)> {
        let made = self.output.as_ref().map(|_| OutputPipes::make()).transpose();
        let (output, writers) = made.map_err(|error| Error::system("pipes for the output", error))?.unzip();
        let pipes = HeardPipes {
            output,
            #[cfg(feature = "tracing")]
            records: None,
        };
        Ok((pipes, writers))
    }

    /// Pipes for a worker, and its ends of them.
    ///
    /// # Errors
    ///
    /// The system refuses descriptors.
    pub(crate) fn worker_pipes(&self) -> Result<(HeardPipes, Vec<OwnedFd>)> {
        #[cfg_attr(not(feature = "tracing"), expect(unused_mut, reason = "records are added"))]
        let (mut pipes, output) = self.output_pipes()?;
        let mut fds = Vec::new();
        fds.extend(output.into_iter().flat_map(|OutputPipes { stdout, stderr }| [stdout, stderr]));
        #[cfg(feature = "tracing")]
        if self.records.is_some() {
            let made = crate::process::output_pipes::pipe();
            let (reader, writer) = made.map_err(|error| Error::system("a pipe for spans and events", error))?;
            // Last among the descriptors, where the fork server and a new executable expect it.
            pipes.records = Some(reader);
            fds.push(writer);
        }
        Ok((pipes, fds))
    }

    /// Has these pipes of the process `pid` read; it is the worker, or the fork server.
    pub(crate) fn hear(&self, worker: Option<Worker>, pid: u32, pipes: HeardPipes) {
        if let (Some(output), Some(OutputPipes { stdout, stderr })) = (&self.output, pipes.output) {
            for (fd, stream) in [(stdout, OutputStream::Stdout), (stderr, OutputStream::Stderr)] {
                output.add(fd, Lines::new(worker, stream), pid);
            }
        }
        #[cfg(feature = "tracing")]
        // The fork server runs no task, so it has no such pipe.
        if let (Some(records), Some(pipe), Some(worker)) = (&self.records, pipes.records, worker) {
            records.add(pipe, Frames::new(worker), pid);
        }
    }

    /// The process has ended.
    pub(crate) fn process_ended(&self, pid: u32) {
        if let Some(output) = &self.output {
            output.process_ended(pid);
        }
        #[cfg(feature = "tracing")]
        if let Some(records) = &self.records {
            records.process_ended(pid);
        }
    }

    /// All processes are gone.
    pub(crate) fn close(&self) {
        if let Some(output) = &self.output {
            output.close();
        }
        #[cfg(feature = "tracing")]
        if let Some(records) = &self.records {
            records.close();
        }
    }

    /// Descriptors that a copy of the host closes.
    pub(crate) fn private(&self) -> Vec<BorrowedFd<'_>> {
        let fds = self.output.iter().flat_map(|output| output.private());
        #[cfg(feature = "tracing")]
        let fds = fds.chain(self.records.iter().flat_map(|records| records.private()));
        fds.collect()
    }
}

impl HeardPipes {
    /// The descriptors of the output.
    pub(crate) fn as_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.output.iter().flat_map(OutputPipes::as_fds)
    }
}
