//! The readers that a pool is to have, until they are started.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::Host;
use super::events::{Listener, spawn_reader};
use super::hearing::Hearing;
use super::tracing::TRACE_BYTES_MAX;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::log::Reader;
use crate::observe::output::{Lines, OutputLine};

/// The listener and the file that records go to.
#[derive(Default)]
pub(crate) struct Seeing {
    pub(crate) on_event: Option<Listener>,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) on_output: Option<OutputListener>,
}

/// A listener for lines, as a pool keeps it.
pub(crate) type OutputListener = Box<dyn FnMut(OutputLine) + Send>;

impl fmt::Debug for Seeing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_event = self.on_event.as_ref().map(|_| "FnMut(&Event)");
        let on_output = self.on_output.as_ref().map(|_| "FnMut(OutputLine)");
        f.debug_struct("Seeing")
            .field("on_event", &on_event)
            .field("trace", &self.trace)
            .field("on_output", &on_output)
            .finish()
    }
}

impl Seeing {
    /// # Errors
    ///
    /// `InvalidInput` for a relative path.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.trace {
            Some(path) if path.is_relative() => {
                let text = format!("the path of a trace must be absolute, and is `{}`", path.display());
                Err(Error::new(ErrorKind::InvalidInput, text))
            }
            _ => Ok(()),
        }
    }

    /// Has records kept from now on.
    pub(crate) fn open_logs(&self, host: &Host) {
        // One log for each, so that a slow listener costs the trace nothing.
        let wanted = [(self.on_event.is_some(), Reader::Events), (self.trace.is_some(), Reader::Trace)];
        for (_, reader) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
            host.open_log(reader);
        }
    }

    /// Starts the threads. This comes after the workers have been started: with `Fork` these copy a host of one thread, and
    /// must not get the file.
    ///
    /// # Errors
    ///
    /// `System` if the file cannot be written, or the system refuses a thread.
    pub(crate) fn start(self, host: &Arc<Host>, pool: &str, output: Option<Arc<Hearing<Lines>>>) -> Result<()> {
        // First, since it can fail for a reason of the user's: then no other thread has been started.
        if let Some(path) = self.trace {
            let file = File::create(&path)
                .map_err(|error| Error::system(&format!("creating the trace `{}`", path.display()), error))?;
            let name = pool.to_owned();
            spawn_reader(host, format!("{pool}-trace"), move |host| host.write_trace(&name, file, TRACE_BYTES_MAX))?;
        }
        // The logs are open since before the first worker, so it hears of all of them.
        if let Some(listener) = self.on_event {
            spawn_reader(host, format!("{pool}-events"), move |host| host.pass_events(listener))?;
        }
        if let (Some(listener), Some(output)) = (self.on_output, output) {
            output.start(host, &format!("{pool}-output"), listener)?;
        }
        Ok(())
    }
}
