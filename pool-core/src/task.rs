//! A [`Task`], which `#[pool_task]` makes of a function, its options, and its entry in the dispatch table.

mod configure;
mod configured;
#[cfg(feature = "remote")]
pub(crate) mod form;
pub(crate) mod options;
pub(crate) mod state;
pub(crate) mod state_type;
pub(crate) mod table;

use std::time::Duration;

use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
use crate::codec::number_buffer::ResultBuffer;
use crate::priority::Priority;
pub use crate::task::configured::Configured;
pub use crate::task::options::TaskOptions;
use crate::task::table::Entry;

/// A function that a pool can run in a worker process.
///
/// Annotate a function with [`#[pool_task]`](crate::pool_task) and pass its task, `the_function::Task`, to the pool.
/// Options ride on the task, so every method of the pool takes them:
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let patient = square::Task.timeout(Duration::from_secs(5)).retries(2);
/// assert_eq!(pool.map(patient.chunk_size(10), 0..4)?, [0, 1, 4, 9]);
/// # Ok(()) }
/// ```
///
/// The first option makes a [`Configured`] task, and further ones leave its type as it is. So a variable that gets options under a
/// condition begins with one, such as the default priority:
///
/// ```
/// # use pool_core::prelude::*;
/// # use pool_core::Priority;
/// # #[pool_task]
/// # fn square(x: u64) -> u64 { x * x }
/// # fn main() -> pool_core::Result<()> {
/// # let (is_urgent, limit) = (true, Some(Duration::from_secs(5)));
/// let mut task = square::Task.priority(Priority::Normal);
/// if is_urgent {
///     task = task.priority(Priority::High);
/// }
/// if let Some(limit) = limit {
///     task = task.timeout(limit);
/// }
/// assert_eq!(Pool::new(1)?.apply(task, 3)?, 9);
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a pool task",
    label = "not a pool task",
    note = "annotate the function with `#[pool_task]` and pass its task, `the_function::Task`",
    note = "a closure cannot travel to another process, since it holds values of this one: write a function with \
            `#[pool_task]` that takes what the closure captures as arguments"
)]
pub trait Task: Copy + Send + Sync + 'static {
    /// The arguments of a call. One argument: that type. Several: a tuple. None: `()`.
    ///
    /// The lifetime lets `&str`, `&[u8]` and other references be lent by the caller, and to the function.
    type Args<'a>;

    /// The result of the function.
    type Output: Send + 'static;

    #[doc(hidden)]
    fn entry() -> &'static Entry;

    /// The bytes of every set of arguments, if they are always as many.
    #[doc(hidden)]
    fn args_size() -> Option<usize>;

    #[doc(hidden)]
    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError>;

    /// The memory of the only argument, if it is bytes or text of some length: it travels as it is.
    ///
    /// # Errors
    ///
    /// The arguments, unless they are such.
    #[doc(hidden)]
    fn args_into_bytes(args: Self::Args<'_>) -> Result<Vec<u8>, Self::Args<'_>>;

    /// Calls the function with the argument that travelled as its memory.
    #[doc(hidden)]
    fn invoke_raw(bytes: Vec<u8>) -> Result<Self::Output, CodecError>;

    /// Decodes the arguments, checks with [`Decoder::finish`] that nothing is left over, and calls the function.
    #[doc(hidden)]
    fn invoke(input: Decoder<'_>) -> Result<Self::Output, CodecError>;

    /// Whether the result is an `Err`.
    #[doc(hidden)]
    fn output_is_err(output: &Self::Output) -> bool;

    /// The bytes of every result, if they are always as many.
    #[doc(hidden)]
    fn output_size() -> Option<usize>;

    #[doc(hidden)]
    fn encode_output(output: &Self::Output, out: &mut Encoder<'_>) -> Result<(), CodecError>;

    /// The result's memory, if it is bytes or text of some length.
    ///
    /// # Errors
    ///
    /// The result, unless it is such.
    #[doc(hidden)]
    fn output_into_bytes(output: Self::Output) -> Result<Vec<u8>, Self::Output>;

    #[doc(hidden)]
    fn decode_output(input: Decoder<'_>) -> Result<Self::Output, CodecError>;

    /// The result that travelled as its memory.
    #[doc(hidden)]
    fn decode_raw(bytes: Vec<u8>) -> Result<Self::Output, CodecError>;

    /// Decodes results of a fixed size that stand one behind the other, all at once. False, and nothing is appended, if
    /// they have to be looked at one by one.
    #[doc(hidden)]
    fn decode_outputs(bytes: &[u8], values: &mut Vec<Self::Output>) -> bool;

    /// A place for the results of a map of about so many items, if they need not be looked at.
    #[doc(hidden)]
    fn result_buffer(items: usize) -> Option<Box<dyn ResultBuffer>>;

    /// The options in force: the attribute's, unless the call set its own.
    #[doc(hidden)]
    fn options(&self) -> TaskOptions {
        Self::entry().options
    }

    /// The options, if the call set some of its own.
    #[doc(hidden)]
    fn own_options(&self) -> Option<&TaskOptions> {
        None
    }

    /// This task with a limit on the time of each item, counted from its start in the worker.
    ///
    /// An item that takes longer is killed together with its worker, which is replaced, and fails with
    /// [`ErrorKind::TaskTimeout`](crate::ErrorKind::TaskTimeout). All else goes on. A limit of zero is an [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) error of the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn hang() { loop { std::thread::park() } }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let error = pool.apply(hang::Task.timeout(Duration::from_millis(50)), ()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TaskTimeout);
    /// # Ok(()) }
    /// ```
    fn timeout(self, limit: Duration) -> Configured<Self> {
        Configured::of(self).timeout(limit)
    }

    /// This task with some grace for items that should come to an end: after its [time limit](Task::timeout), or after it was
    /// [cancelled](crate::AsyncResult::cancel), a running item has so long before its worker is killed.
    ///
    /// [`is_cancelled`](crate::is_cancelled) tells the item so. A value that it returns within the grace of a time limit counts. A
    /// cancelled job ends at once, whatever its items do in their grace. [`Pool::terminate`](crate::Pool::terminate) kills at once.
    /// [`Worker::deadline`](crate::Worker::deadline) is the end of limit and grace. Items of a cancelled map that their worker had
    /// claimed may still begin, and find that they are cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn until_cancelled() { while !pool_core::is_cancelled() { std::thread::sleep(Duration::from_millis(1)) } }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let limit = until_cancelled::Task.timeout(Duration::from_millis(10));
    /// Pool::new(1)?.apply(limit.grace(Duration::from_secs(60)), ())
    /// # }
    /// ```
    fn grace(self, time: Duration) -> Configured<Self> {
        Configured::of(self).grace(time)
    }

    /// This task with up to `retries` further attempts for an item that cost its worker, or was killed by a time limit.
    ///
    /// The first comes 10 ms later, each further one after twice the time, up to 1.28 s. Meanwhile the item holds up
    /// nobody. Only an item that a worker had begun is charged; the others that were sent there run elsewhere, at once.
    ///
    /// A panic is retried only with [`retry_panics`](Task::retry_panics), and an error that the function returns never.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// /// Dies in each worker's first process.
    /// #[pool_task]
    /// fn fragile() -> u32 {
    ///     let incarnation = pool_core::current_worker().unwrap().incarnation();
    ///     if incarnation == 0 {
    ///         std::process::abort();
    ///     }
    ///     incarnation
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(fragile::Task.retries(1), ())?, 1);
    /// # Ok(()) }
    /// ```
    fn retries(self, retries: u32) -> Configured<Self> {
        Configured::of(self).retries(retries)
    }

    /// This task with its [`retries`](Task::retries) used for an item that panics, too.
    ///
    /// For functions that panic for reasons that pass, such as a server that does not answer. The function is called again
    /// in the same process, so it must not have left that in a state in which it cannot work.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use pool_core::prelude::*;
    ///
    /// #[pool_task]
    /// fn third_time() -> u32 {
    ///     static CALLS: AtomicU32 = AtomicU32::new(0);
    ///     let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    ///     assert!(call >= 3, "not yet");
    ///     call
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(third_time::Task.retries(2).retry_panics(), ())?, 3);
    /// # Ok(()) }
    /// ```
    fn retry_panics(self) -> Configured<Self> {
        Configured::of(self).retry_panics()
    }

    /// This task with a fixed number of items per chunk of a map, in place of the measured one.
    ///
    /// Zero is an [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) error of the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(square::Task.chunk_size(2), 0..4)?, [0, 1, 4, 9]);
    /// # Ok(()) }
    /// ```
    fn chunk_size(self, items: usize) -> Configured<Self> {
        Configured::of(self).chunk_size(items)
    }

    /// This task with a limit on how far a lazy map ([`Pool::imap`](crate::Pool::imap)) looks ahead: at most so many items of
    /// its input are pulled and their results not handed out. Without it they are 4096.
    ///
    /// A small number keeps down the memory of an input of large items, or its side effects; fewer items than workers leave
    /// workers idle. The limit of 64 MiB of arguments and results stays in force. Zero is an
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) error of the call. Other calls and maps ignore it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let mut pulled = 0;
    /// let input = (0..100).inspect(|_| pulled += 1);
    /// let first = pool.imap(square::Task.prefetch(3), input)?.next();
    /// assert_eq!(first.transpose()?, Some(0));
    /// assert!(pulled <= 3);
    /// # Ok(()) }
    /// ```
    fn prefetch(self, items: usize) -> Configured<Self> {
        Configured::of(self).prefetch(items)
    }

    /// This task with a priority: items of a higher one go to workers first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// use pool_core::Priority;
    ///
    /// #[pool_task]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let batch = pool.map_async(square::Task.priority(Priority::Low), 0..100)?;
    /// assert_eq!(pool.apply(square::Task, 3)?, 9);
    /// assert_eq!(batch.get()?.len(), 100);
    /// # Ok(()) }
    /// ```
    fn priority(self, priority: Priority) -> Configured<Self> {
        Configured::of(self).priority(priority)
    }

    /// This task with at most so many of its items running at once in the pool, such as for a server that takes no more
    /// connections.
    ///
    /// A submission with a limit sends an item when fewer items of the task run, those of other submissions included; a
    /// submission without one sends its items regardless. One that allows few holds back those that allow more until it has
    /// had an item run. Meanwhile workers run other tasks. Zero is an `InvalidInput` error of the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn fetch(page: u32) -> u32 { page }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(4)?;
    /// assert_eq!(pool.map(fetch::Task.max_concurrent(2), 0..5)?, [0, 1, 2, 3, 4]);
    /// # Ok(()) }
    /// ```
    fn max_concurrent(self, items: usize) -> Configured<Self> {
        Configured::of(self).max_concurrent(items)
    }

    /// This task with an ear for the [reports](crate::report()) of its items: by
    /// [`AsyncResult::on_report`](crate::AsyncResult::on_report) of [`apply_async`](crate::Pool::apply_async),
    /// [`map_async`](crate::Pool::map_async) and their like, and by [`Imap::on_report`](crate::Imap::on_report).
    ///
    /// Reports that come before the listener wait for it, about 1 MiB of them; then the items wait that report, until there is a
    /// listener or the outcome is waited for without one. Calls and maps that return the outcome itself, such as
    /// [`apply`](crate::Pool::apply), have no listener. The values of items that may report are sent one by one, which makes
    /// items of a few microseconds slower.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn climb(steps: u32) -> u32 {
    ///     (1..=steps).filter(|step| pool_core::report(step)).count() as u32
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let listener = |report: pool_core::Report<u32>| println!("step {}", report.value.unwrap_or(0));
    /// Pool::new(1)?.apply_async(climb::Task.reports(), 3)?.on_report(listener).get()?;
    /// # Ok(()) }
    /// ```
    fn reports(self) -> Configured<Self> {
        Configured::of(self).reports()
    }

    /// This task with a name for this submission, for people: [`Pool::running`](crate::Pool::running), events and traces show it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(square::Task.label("nightly report"), 3)?, 9);
    /// # Ok(()) }
    /// ```
    fn label(self, label: &'static str) -> Configured<Self> {
        Configured::of(self).label(label)
    }

    /// This task with a seed for the random numbers of its items, in place of [the pool's](crate::PoolBuilder::seed); see
    /// [`CurrentItem::seed`](crate::CurrentItem::seed).
    ///
    /// Calls with a seed travel one by one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn draw() -> u64 { pool_core::current_item().unwrap().seed }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let draw = |workers| Pool::new(workers)?.map(draw::Task.seed(7), [(); 10]);
    /// assert_eq!(draw(1)?, draw(2)?);
    /// # Ok(()) }
    /// ```
    fn seed(self, seed: u64) -> Configured<Self> {
        Configured::of(self).seed(seed)
    }
}

/// False if a value of the arguments may own memory, so that they are not of one size. Asked in `const` blocks, as then the
/// ways of arguments that are numbers are not even compiled for the others.
pub(crate) const fn args_may_be_plain<T: Task>() -> bool {
    // `args_size` cannot be asked here, since it is no `const fn`: a trait has none.
    !std::mem::needs_drop::<T::Args<'static>>()
}

/// The same of the result.
pub(crate) const fn output_may_be_plain<T: Task>() -> bool {
    !std::mem::needs_drop::<T::Output>()
}
