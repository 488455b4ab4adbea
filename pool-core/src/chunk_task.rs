//! Tasks that write parts of an array in place.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytemuck::Pod;

use crate::arrays::window::{ChunkItem, Window};
use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
use crate::priority::Priority;
use crate::task::{Task, TaskOptions};

/// A function that a worker runs on a part of an array, which it writes in place.
///
/// Annotate a function `fn f(part: &mut [T], offset: usize, args…) -> R` with [`#[pool_task]`](macro@crate::pool_task), and pass
/// `f::Task` to [`Pool::map_chunks_mut`](crate::Pool::map_chunks_mut). It is no [`Task`], since it would write while the host goes on.
///
/// ```
/// use pool_core::prelude::*;
/// use pool_core::SharedVec;
///
/// #[pool_task]
/// fn scale(part: &mut [f64], _offset: usize, factor: f64) -> usize {
///     part.iter_mut().for_each(|x| *x *= factor);
///     part.len()
/// }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let mut numbers = SharedVec::from_slice(&[1.0, 2.0, 3.0])?;
/// let task = scale::Task.timeout(Duration::from_secs(5));
/// let lens = pool.map_chunks_mut(task, &mut numbers, 2, 10.0)?;
/// assert_eq!(*numbers, [10.0, 20.0, 30.0]);
/// assert_eq!(lens.into_iter().collect::<pool_core::Result<Vec<_>>>()?, [2, 1]);
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task for parts of an array",
    label = "does not write a part of an array",
    note = "annotate `fn f(part: &mut [T], offset: usize)` with `#[pool_task]` and pass its task, `f::Task`"
)]
pub trait ChunkTask: Copy + Send + Sync + 'static {
    /// The elements of the array.
    type Elem: Pod;

    /// The arguments behind the part and its offset, which are the same for all parts. One argument: that type. Several: a tuple. None:
    /// `()`.
    type Args<'a>;

    /// The result for each part.
    type Output: Send + 'static;

    /// The task whose items are the parts.
    #[doc(hidden)]
    type Items: for<'a> Task<Args<'a> = ChunkItem<'a, Self::Elem>, Output = Self::Output>;

    #[doc(hidden)]
    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError>;

    /// The options in force: the attribute's, unless the call set its own.
    #[doc(hidden)]
    fn options(&self) -> TaskOptions {
        Self::Items::entry().options
    }

    /// This task with a limit on the time of each part; see [`Task::timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # use pool_core::{ChunkTask, SharedVec};
    /// #[pool_task]
    /// fn hang(_part: &mut [u8], offset: usize) { while offset == 1 { std::thread::park() } }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let task = hang::Task.timeout(Duration::from_millis(50));
    /// let results = Pool::new(1)?.map_chunks_mut(task, &mut SharedVec::zeroed(2)?, 1, ())?;
    /// assert!(results[0].is_ok());
    /// assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::TaskTimeout);
    /// # Ok(()) }
    /// ```
    fn timeout(self, limit: Duration) -> ConfiguredChunks<Self> {
        ConfiguredChunks::of(self).timeout(limit)
    }

    /// This task with a priority; see [`Task::priority`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// use pool_core::{ChunkTask, Priority, SharedVec};
    ///
    /// #[pool_task]
    /// fn count(part: &mut [u32], offset: usize) { (offset..).zip(part).for_each(|(at, x)| *x = at as u32) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let mut numbers = SharedVec::zeroed(5)?;
    /// Pool::new(1)?.map_chunks_mut(count::Task.priority(Priority::Low), &mut numbers, 3, ())?;
    /// assert_eq!(*numbers, [0, 1, 2, 3, 4]);
    /// # Ok(()) }
    /// ```
    fn priority(self, priority: Priority) -> ConfiguredChunks<Self> {
        ConfiguredChunks::of(self).priority(priority)
    }

    /// This task with a name for this submission; see [`Task::label`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// use pool_core::{ChunkTask, SharedVec};
    ///
    /// #[pool_task]
    /// fn fill(part: &mut [u8], _offset: usize, byte: u8) { part.fill(byte) }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let mut bytes = SharedVec::zeroed(3)?;
    /// Pool::new(1)?.map_chunks_mut(fill::Task.label("erase"), &mut bytes, 2, 7)?;
    /// assert_eq!(*bytes, [7, 7, 7]);
    /// # Ok(()) }
    /// ```
    fn label(self, label: &'static str) -> ConfiguredChunks<Self> {
        ConfiguredChunks::of(self).label(label)
    }
}

/// The part of an item in its worker. By the task and not by its elements, so that the compiler says only once that these are
/// no plain data.
#[derive(Debug)]
pub struct Part<C: ChunkTask>(Window<C::Elem>);

impl<C: ChunkTask> Part<C> {
    /// Maps the part that the arguments name first.
    ///
    /// # Errors
    ///
    /// The host has not lent the array to this worker, or the system refuses it.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Window::decode(input).map(Part)
    }

    /// The elements of the part.
    pub fn elements(&mut self) -> &mut [C::Elem] {
        self.0.part()
    }

    /// Index of its first element in the array.
    pub fn offset(&self) -> usize {
        self.0.offset()
    }
}

/// A task for parts of an array with options of its own; made by [`ChunkTask::timeout`] and its like.
#[must_use = "it is this task that has the options: pass it to the pool"]
pub struct ConfiguredChunks<C> {
    task: PhantomData<fn() -> C>,
    options: TaskOptions,
}

// Not the trait's methods, which would make a `ConfiguredChunks<ConfiguredChunks<C>>`.
impl<C: ChunkTask> ConfiguredChunks<C> {
    fn of(task: C) -> Self {
        ConfiguredChunks { task: PhantomData, options: task.options() }
    }

    /// See [`ChunkTask::timeout`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout = Some(limit);
        self
    }

    /// See [`ChunkTask::priority`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// See [`ChunkTask::label`].
    pub fn label(mut self, label: &'static str) -> Self {
        self.options.label = Some(label);
        self
    }
}

impl<C> Clone for ConfiguredChunks<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for ConfiguredChunks<C> {}

impl<C: ChunkTask> fmt::Debug for ConfiguredChunks<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = C::Items::entry().name();
        f.debug_struct("ConfiguredChunks").field("task", &name).field("options", &self.options).finish()
    }
}

impl<C: ChunkTask> ChunkTask for ConfiguredChunks<C> {
    type Elem = C::Elem;
    type Args<'a> = C::Args<'a>;
    type Output = C::Output;
    type Items = C::Items;

    fn encode_args(args: &Self::Args<'_>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        C::encode_args(args, out)
    }
    fn options(&self) -> TaskOptions {
        self.options
    }
}
