//! A task with options of its own.

use std::fmt;
use std::marker::PhantomData;

use crate::task::options::TaskOptions;

/// A task with options of its own; made by [`Task::timeout`](crate::Task::timeout), [`Task::retries`](crate::Task::retries) and their like.
#[must_use = "it is this task that has the options: pass it to the pool"]
pub struct Configured<T> {
    // A function's result, so that `Configured` is `Send` and `Sync` whatever `T` is.
    task: PhantomData<fn() -> T>,
    pub(super) options: TaskOptions,
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
