//! The readers that a pool is to have, until they are started.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "tracing")]
use tracing::dispatcher::{self, Dispatch};
#[cfg(feature = "tracing")]
use tracing::level_filters::LevelFilter;

use super::Host;
use super::ears::Ears;
use super::events::{Listener, spawn_reader};
use super::hearing::Hearing;
use super::tracing::TRACE_BYTES_MAX;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "tracing")]
use crate::observe::forwarded::contexts::Contexts;
#[cfg(feature = "tracing")]
use crate::observe::forwarded::replay::Replay;
use crate::observe::log::Reader;
use crate::observe::output::OutputLine;
#[cfg(feature = "tracing")]
use crate::worker::forwarding::record::level_number;
use crate::worker::limits::WorkerLimits;

/// The listener and the file that records go to.
#[derive(Default)]
pub(crate) struct Seeing {
    pub(crate) on_event: Option<Listener>,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) on_output: Option<OutputListener>,
    #[cfg(feature = "tracing")]
    pub(crate) forwards_tracing: bool,
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

    /// The pipes by which the processes are to be heard; `limits` say so, too.
    ///
    /// # Errors
    ///
    /// The system refuses descriptors.
    pub(crate) fn ears(&self, limits: &mut WorkerLimits, in_process: bool) -> Result<Ears> {
        // Threads of the host have its standard streams and its subscriber.
        if in_process {
            return Ok(Ears::default());
        }
        limits.is_heard = self.on_output.is_some();
        #[cfg(feature = "tracing")]
        if self.forwards_tracing {
            // Workers have the host's level of now: a record that nobody wants is not even formatted there.
            limits.forwarded_level = level_number(LevelFilter::current());
        }
        Ok(Ears {
            output: limits.is_heard.then(Hearing::new).transpose()?,
            #[cfg(feature = "tracing")]
            records: (limits.forwarded_level > 0).then(Hearing::new).transpose()?,
        })
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
    pub(crate) fn start(self, host: &Arc<Host>, pool: &str, ears: Ears) -> Result<()> {
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
        if let (Some(listener), Some(output)) = (self.on_output, ears.output) {
            output.start(host, &format!("{pool}-output"), listener)?;
        }
        #[cfg(feature = "tracing")]
        if let Some(records) = ears.records {
            // Before the first submission, which would otherwise leave a span behind.
            host.with(|engine| engine.contexts = Some(Arc::clone(&records.later)));
            // That of the thread that builds the pool. It gets all, so that spans and events fit together.
            let subscriber = dispatcher::get_default(Dispatch::clone);
            let contexts = host.contexts.get_or_init(|| Arc::new(Contexts::new(&subscriber)));
            let mut replay = Replay::new(subscriber, Arc::clone(contexts));
            records.start(host, &format!("{pool}-tracing"), move |forwarded| replay.take(forwarded))?;
        }
        Ok(())
    }
}
