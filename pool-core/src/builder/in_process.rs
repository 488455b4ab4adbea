//! Workers that are threads, for debuggers, captured test output and sanitizers.

use super::PoolBuilder;

impl PoolBuilder {
    /// Runs tasks in threads of this process and not in processes of their own: for a debugger, for the captured output of a test,
    /// for sanitizers. **Nothing is isolated**: a task that crashes or calls `exit` ends this program, and tasks share its statics,
    /// its environment and its memory.
    ///
    /// All else is the same program: arguments and results are encoded and travel as between processes, and every method, handle,
    /// option and error works as there, with these exceptions:
    ///
    /// * A panic is caught, and costs nothing but its item, unless the program is built with `panic = "abort"`.
    /// * A thread cannot be killed. Where a process would be, for a [time limit](crate::Task::timeout) or after
    ///   [`cancel`](crate::AsyncResult::cancel) or [`terminate`](crate::Pool::terminate),
    ///   [`is_cancelled`](crate::is_cancelled) is true for the item, and the thread ends when the item returns. Its caller gets
    ///   [`TaskTimeout`](crate::ErrorKind::TaskTimeout) then; or the item's value, if that obeys so soon that it comes before the pool has
    ///   looked. Dropping the pool waits for running items, and drops [states](PoolBuilder::state).
    /// * A task that drops its own pool does not wait for that. [`join`](crate::Pool::join), [`wait_idle`](crate::Pool::wait_idle) and
    ///   [`broadcast`](crate::Pool::broadcast) of its own pool would wait for the task itself, and are
    ///   [`Unsupported`](crate::ErrorKind::Unsupported) there.
    /// * [Initializers](PoolBuilder::initializer) run once in each thread, and a [preload](PoolBuilder::preload) once for each pool, all with
    ///   the same statics: `OnceLock::get_or_init` fits, while `set(…).unwrap()` panics the second time. A thread that a preload leaves
    ///   behind stays, and is no error.
    /// * The options [`start_method`](PoolBuilder::start_method), [`memory_limit`](PoolBuilder::memory_limit),
    ///   [`max_worker_rss`](PoolBuilder::max_worker_rss), [`worker_env`](PoolBuilder::worker_env),
    ///   [`threads_per_worker`](PoolBuilder::threads_per_worker), [`on_output`](PoolBuilder::on_output) and `forward_tracing` have
    ///   no effect, so that they can stay in the program.
    /// * [`Worker::pid`](crate::Worker::pid) and the like are numbers of threads, as `gdb` (`LWP`) and `ps -L` show them.
    /// * [`current_worker`](crate::current_worker), [`current_item`](crate::current_item) and
    ///   [`is_cancelled`](crate::is_cancelled) answer in the thread of the worker alone, not in threads that a task starts.
    ///
    /// Calls cost about the same as between processes.
    ///
    /// # Examples
    ///
    /// A program that has it behind a switch can be debugged as it is: `gdb --args program --in-process`, then
    /// `break program::render`, `run`.
    ///
    /// ```
    /// use pool_core::prelude::*;
    ///
    /// #[pool_task]
    /// fn render(frame: u64) -> u64 {
    ///     // The test that calls it shows this line if it fails.
    ///     println!("frame {frame}");
    ///     frame * frame
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let mut builder = Pool::builder().workers(2).memory_limit(1 << 30);
    /// if cfg!(debug_assertions) || std::env::args().any(|arg| arg == "--in-process") {
    ///     builder = builder.in_process();
    /// }
    /// assert_eq!(builder.build()?.map(render::Task, 0..4)?, [0, 1, 4, 9]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "threads")]
    #[doc(alias = "debug")]
    pub fn in_process(mut self) -> Self {
        self.in_process = true;
        self
    }
}
