//! A reference into memory that lives as long as the reference does.

#![allow(unsafe_code)]

use std::any::Any;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// What keeps shared memory in place: a mapping, or a heap allocation in tests.
pub(crate) type Keeper = Arc<dyn Any + Send + Sync>;

/// A `&T` that owns a share of the memory it points into, so that a ring's end can be moved about freely.
///
/// # Invariants
/// `at` points to a valid `T` that does not move and is not freed while `keeper` lives.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    at: NonNull<T>,
    keeper: Keeper,
}

// SAFETY:
// - a `Shared<T>` gives nothing but `&T`, which may go to other threads when `T: Sync`;
// - the keeper is Send and Sync by its type.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// # Safety
    /// `at` must point to a valid `T` that neither moves nor is freed while `keeper` lives.
    pub(crate) unsafe fn new(keeper: Keeper, at: NonNull<T>) -> Shared<T> {
        Shared { at, keeper }
    }

    /// Goes on to a part of the `T`.
    pub(crate) fn part<U>(&self, of: impl for<'a> FnOnce(&'a T) -> &'a U) -> Shared<U> {
        // The part is borrowed from the whole for any lifetime the closure is asked for, so it lives where the whole
        // does.
        Shared { at: NonNull::from(of(self)), keeper: Arc::clone(&self.keeper) }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        self.part(|whole| whole)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the invariant of the type; the keeper lives as long as `self`.
        unsafe { self.at.as_ref() }
    }
}
