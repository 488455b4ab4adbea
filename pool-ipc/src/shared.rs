//! A reference into memory that lives as long as the reference does.

#![allow(unsafe_code)]

use std::any::Any;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// The owner of shared memory: a mapping, or a heap allocation in tests.
pub(crate) type Keeper = Arc<dyn Any + Send + Sync>;

/// A `&T` that shares ownership of the memory behind it, so that the end of a ring can move between threads.
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

    /// A reference to a part of the `T`.
    pub(crate) fn part<U>(&self, of: impl for<'a> FnOnce(&'a T) -> &'a U) -> Shared<U> {
        // `of` works for every lifetime, so the part it returns lies in the `T` and lives as long.
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
