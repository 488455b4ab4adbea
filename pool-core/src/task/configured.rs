//! A task with options of its own.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::priority::Priority;
use crate::task::Task;
use crate::task::options::TaskOptions;

/// A task with options of its own; made by [`Task::timeout`], [`Task::retries`] and their like.
#[must_use = "it is this task that has the options: pass it to the pool"]
pub struct Configured<T> {
    // A function's result, so that `Configured` is `Send` and `Sync` whatever `T` is.
    task: PhantomData<fn() -> T>,
    pub(super) options: TaskOptions,
}

macro_rules! options {
    ($($option:ident($($argument:ident: $type:ty)?) sets $field:ident = $value:expr;)*) => {
        // Not the trait's methods, which would make a `Configured<Configured<T>>`.
        impl<T: Task> Configured<T> {$(
            #[doc = concat!("See [`Task::", stringify!($option), "`].")]
            pub fn $option(mut self $(, $argument: $type)?) -> Self {
                self.options.$field = $value;
                self
            }
        )*}
    };
}
options! {
    timeout(limit: Duration) sets timeout = Some(limit);
    grace(time: Duration) sets grace = Some(time);
    retries(retries: u32) sets retries = Some(retries);
    retry_panics() sets retry_panics = true;
    chunk_size(items: usize) sets chunk_size = Some(items);
    prefetch(items: usize) sets prefetch = Some(items);
    priority(priority: Priority) sets priority = priority;
    max_concurrent(items: usize) sets max_concurrent = Some(items);
    reports() sets reports = true;
    label(label: &'static str) sets label = Some(label);
    seed(seed: u64) sets seed = Some(seed);
}

impl<T: Task> Configured<T> {
    /// The task with the options that it has.
    pub(super) fn of(task: T) -> Self {
        Configured::new(task.options())
    }
}

impl<T> Configured<T> {
    pub(crate) fn new(options: TaskOptions) -> Self {
        Configured { task: PhantomData, options }
    }
}

// By hand: a derive would ask for `T: Clone`.
impl<T> Clone for Configured<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Configured<T> {}

impl<T> fmt::Debug for Configured<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The task by its type, since its entry is not known here.
        f.debug_struct("Configured").field("task", &std::any::type_name::<T>()).field("options", &self.options).finish()
    }
}
