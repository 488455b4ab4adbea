//! Options by which a program looks into the pool.

use std::path::Path;

use super::PoolBuilder;
use crate::observe::event::Event;
use crate::observe::output::OutputLine;

impl PoolBuilder {
    /// Calls `listener` with each [`Event`]: workers that start and end, jobs, chunks, failures and retries.
    ///
    /// It runs in a thread of its own, and gets the events in their order, mostly within a millisecond or two. It may panic
    /// (the next event comes all the same), block, and use or drop the pool. As long as it blocks, 32,768 events wait, and
    /// further ones are dropped: [`Event::Dropped`] says how many. The end of the pool waits until all events have been passed
    /// on, with the limit that [`on_output`](PoolBuilder::on_output) has. Without a listener no event is recorded. Set twice, the second
    /// listener replaces the first.
    ///
    /// # Examples
    ///
    /// See [`Event`].
    pub fn on_event(mut self, listener: impl FnMut(&Event) + Send + 'static) -> Self {
        self.seeing.on_event = Some(Box::new(listener));
        self
    }

    /// Calls `listener` with each line that the workers print, to standard output or standard error, in Rust, in C, or in a
    /// program that a task starts: lines are whole, and never mixed.
    ///
    /// Unless this is set, workers print to the streams of the host. With it, each process has two pipes of its own. Lines
    /// of a stream come in their order; those of the two streams of a worker, and of several workers, in about the order in which
    /// they were printed. Lines that a worker has printed just before it died are among them. (The message of a task's panic is in its
    /// error, and not printed.)
    /// Rust and C have a buffer each: text of one that has no end of line yet may come behind text of the other.
    /// [`OutputLine::worker`] is `None` for the fork server, in which constructors of the program may print, and for a
    /// [`preload`](PoolBuilder::preload).
    ///
    /// The listener runs in a thread of its own. It may panic (the next line comes all the same), print, use the pool, or drop
    /// it. Up to 1 MiB of lines wait for it. If it is slower than the workers print, they wait for it, and their time limits go
    /// on. If it does not return for a second, lines are dropped until it does, so no task waits for ever; a line says how many
    /// ([`OutputLine::dropped`]).
    ///
    /// [`join`](crate::Pool::join) and the drop of the pool wait until all lines have been passed on. That has no bound as long as the listener
    /// returns: 200 lines of 100 ms each take 20 s ([`join_timeout`](crate::Pool::join_timeout) waits no longer than its limit). A listener
    /// that does not return for a second is left behind, and so are its lines; `join` waits that second, and a drop after it another one.
    ///
    /// Set twice, the second listener replaces the first.
    ///
    /// A line has at most 64 KiB, and a longer one comes in pieces ([`LineEnd::Cut`](crate::LineEnd::Cut)). Bytes that need not
    /// be UTF-8 are kept as they are. Text without an end of line comes when its line ends, with the next
    /// item perhaps, or its worker does. The pipes are closed
    /// when their worker is gone: a program that it has left behind (`setsid`) cannot print to them any more. Lines that are
    /// written while other threads or programs of the same worker write to the same stream may be mixed with theirs, as in
    /// any program. The pool keeps two descriptors for each worker.
    ///
    /// # Examples
    ///
    /// See [`OutputLine`].
    pub fn on_output(mut self, listener: impl FnMut(OutputLine) + Send + 'static) -> Self {
        self.seeing.on_output = Some(Box::new(listener));
        self
    }

    /// Forwards spans and events of `tracing`, and records of `log`, from the workers to the subscriber of this thread.
    ///
    /// They arrive as if they were the host's own: with target, level, file, line, module and the values of their fields, and
    /// within a span `item` of the pool's, which has the worker, its pid, the task, the index of the item in its map, and the
    /// attempt, if it is not the first; its target is the module of the task, and its level that of errors, so that filters
    /// let it pass. That span stands in the one in which the job was submitted. The subscriber's times are those of their arrival, a
    /// millisecond or two later. Records of an initializer are within a span
    /// `worker`. Each record is written when it is made, so those before a crash arrive, too, and the spans that a dead
    /// worker was in are closed.
    ///
    /// All records go to the subscriber of the thread that builds the pool, whichever thread submits a job. A job that is submitted
    /// where another subscriber counts (in a test that has its own, with a pool in a static) stands in the span of the pool's
    /// subscriber that the thread is in, if there is one; spans of the other subscriber do not show.
    ///
    /// Spans and events of a [`preload`](PoolBuilder::preload) are not forwarded, since it runs before there is a worker, and neither are
    /// records of `log` in a preload or an initializer.
    ///
    /// The subscriber must be installed before the pool is built. Workers have its level of that moment: a record that
    /// the level excludes costs them a comparison, and any other one a system call. It runs in a thread of the pool's own, and may
    /// block, panic and use the pool. Up to 1 MiB of records wait for it; then workers that write wait, and their time limits
    /// go on. If it does not return for a second, records are dropped until it does, and an event says how many.
    /// [`join`](crate::Pool::join) and the drop of the pool wait until all records have been passed on, with the limit that
    /// [`on_output`](PoolBuilder::on_output) has.
    ///
    /// A record has at most 4 KiB. Longer texts are cut, and end in `… (cut)`. `Debug` and `Display` values arrive as text. Up
    /// to 4,096 places in the code are told apart.
    ///
    /// In the thread that runs the tasks, this subscriber takes the place of any other. If an initializer installs one, that
    /// gets the records of other threads, and an event says so. Records of `log` keep their place also through a logger that
    /// makes events of them (`tracing_log::LogTracer`). With [`StartMethod::Fork`](crate::StartMethod::Fork), workers
    /// have a copy of the host's global subscriber and logger, which stay in that role. A logger that an initializer installs stays, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn square(x: u64) -> u64 {
    ///     tracing::info!(x, "squaring");
    ///     x * x
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// tracing_subscriber::fmt().init();
    /// let pool = Pool::builder().workers(2).forward_tracing().build()?;
    /// tracing::info_span!("batch").in_scope(|| pool.map(square::Task, 0..3))?;
    /// // INFO batch:item{worker=0 pid=31337 task="example::square" item=2}: example: squaring x=2
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tracing")]
    pub fn forward_tracing(mut self) -> Self {
        self.seeing.forwards_tracing = true;
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
