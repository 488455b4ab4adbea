//! Options by which a program looks into the pool.

use std::path::Path;

use super::PoolBuilder;
use crate::observe::event::Event;

impl PoolBuilder {
    /// Calls `listener` with each [`Event`]: workers that start and end, jobs, chunks, failures and retries.
    ///
    /// It runs in a thread of its own, and gets the events in their order, mostly within a millisecond or two. It may panic
    /// (the next event comes all the same), block, and use or drop the pool. As long as it blocks, 32,768 events wait, and
    /// further ones are dropped: [`Event::Dropped`] says how many. The end of the pool waits until all events have been passed
    /// on, but no longer than a second for a listener that is stuck. Without a listener no event is recorded.
    ///
    /// # Examples
    ///
    /// See [`Event`].
    pub fn on_event(mut self, listener: impl FnMut(&Event) + Send + 'static) -> Self {
        self.seeing.on_event = Some(Box::new(listener));
        self
    }

    /// Writes a timeline to this file, for [Perfetto](https://ui.perfetto.dev) and `chrome://tracing`.
    ///
    /// The format is Chrome's trace-event JSON, as an array. Each worker has a line with a block for each item. Short items
    /// are joined into blocks of up to 100 µs. Starts, initializers, pauses from 100 µs on, deaths, failures and retries
    /// are there, too, and blocks have the task, the index of the item, and the [label](crate::Task::label) of the job.
    ///
    /// The file is written anew, every 20 ms, in whole events: after the host was killed it lacks its closing bracket, and
    /// perhaps the end of its last line, which viewers do not mind. At 256 MiB the trace stops, and its last event says so. If
    /// it stops before the pool ends, [`Insights::trace_end`](crate::Insights::trace_end) tells why. Records that come faster
    /// than they can be written are dropped, and an event says how many.
    ///
    /// The path must be absolute: a program that changes its directory would write elsewhere than it says.
    ///
    /// # Errors
    ///
    /// By [`build`](PoolBuilder::build): [`InvalidInput`](crate::ErrorKind::InvalidInput) for a relative path,
    /// [`System`](crate::ErrorKind::System) if the file cannot be written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let path = std::env::temp_dir().join(format!("trace-{}.json", std::process::id()));
    /// let pool = Pool::builder().workers(2).trace(&path).build()?;
    /// pool.map(square::Task.label("squares"), 0..1000)?;
    /// drop(pool);
    /// let trace = std::fs::read_to_string(&path).unwrap();
    /// assert!(trace.contains(r#""label":"squares""#));
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok(()) }
    /// ```
    pub fn trace(mut self, path: impl AsRef<Path>) -> Self {
        self.seeing.trace = Some(path.as_ref().to_owned());
        self
    }
}
