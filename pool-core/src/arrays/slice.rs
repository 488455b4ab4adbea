//! An array that nobody can write any more.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use bytemuck::Pod;
use pool_ipc::FrozenArray;

use crate::attachments::array::Array;

/// A part of a frozen array in shared memory: cheap to clone and to cut, and read by all processes at once.
///
/// It lends `&[T]`, and its bytes to whatever takes `AsRef<[u8]>`. The memory is given back when the last part of it, in
/// whatever process, is gone.
///
/// ```
/// use pool_core::{SharedSlice, SharedVec};
///
/// # fn main() -> pool_core::Result<()> {
/// let numbers: SharedSlice<u32> = SharedVec::try_from_iter(0..10)?.freeze()?;
/// assert_eq!(*numbers.slice(3..6), [3, 4, 5]);
/// assert_eq!(numbers.chunks(4).map(|part| part.len()).collect::<Vec<_>>(), [4, 4, 2]);
/// # Ok(()) }
/// ```
pub struct SharedSlice<T: Pod> {
    pub(super) array: Arc<Array>,
    /// The first element.
    pub(super) first: usize,
    pub(super) len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> SharedSlice<T> {
    pub(super) fn new(memory: FrozenArray, len: usize) -> SharedSlice<T> {
        debug_assert_eq!(memory.bytes().len(), len * size_of::<T>());
        SharedSlice::part(Array::new(memory), 0, len)
    }

    /// The range must lie within the array.
    pub(super) fn part(array: Arc<Array>, first: usize, len: usize) -> SharedSlice<T> {
        SharedSlice { array, first, len, elements: PhantomData }
    }

    /// A part of this part, of the same memory.
    ///
    /// # Panics
    ///
    /// If the range passes the end, or ends before it begins, as with a slice.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> SharedSlice<T> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.len,
        };
        // Checked against this part, not against the whole array: a part gives no access to its neighbours.
        assert!(start <= end && end <= self.len, "range {start}..{end} of a shared slice of {} elements", self.len);
        // Shares the mapping: a part of an array costs a counter and no copy.
        SharedSlice { first: self.first + start, len: end - start, ..self.clone() }
    }

    /// Parts of `elements` elements each, one after the other; the last one may be shorter.
    ///
    /// # Panics
    ///
    /// If `elements` is 0, as with a slice.
    pub fn chunks(&self, elements: usize) -> SharedChunks<T> {
        assert!(elements > 0, "chunks of a shared slice must have at least one element");
        SharedChunks { rest: self.clone(), elements }
    }

    fn bytes(&self) -> &[u8] {
        &self.array.memory().bytes()[self.first * size_of::<T>()..][..self.len * size_of::<T>()]
    }
}

impl<T: Pod> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        // By hand: the derive would ask for `T: Clone`, and copies no element.
        SharedSlice { array: Arc::clone(&self.array), ..*self }
    }
}

impl<T: Pod> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes())
    }
}

/// The elements' bytes in memory, so that `bytes`, `arrow` and their like take the slice without a copy.
impl<T: Pod> AsRef<[u8]> for SharedSlice<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

// One for every `T` would be two for `u8`.
macro_rules! as_ref {
    ($($number:ty)*) => {$(
        impl AsRef<[$number]> for SharedSlice<$number> {
            fn as_ref(&self) -> &[$number] {
                self
            }
        }
    )*};
}
as_ref!(u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

impl<T: Pod + fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Pod + PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Parts of a [`SharedSlice`], made by [`SharedSlice::chunks`].
pub struct SharedChunks<T: Pod> {
    rest: SharedSlice<T>,
    elements: usize,
}

impl<T: Pod> fmt::Debug for SharedChunks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedChunks").field("left", &self.len()).field("elements", &self.elements).finish()
    }
}

impl<T: Pod> Iterator for SharedChunks<T> {
    type Item = SharedSlice<T>;

    fn next(&mut self) -> Option<SharedSlice<T>> {
        // One loop for whole chunks and the shorter last one.
        let taken = self.elements.min(self.rest.len);
        if taken == 0 {
            return None;
        }
        let chunk = self.rest.slice(..taken);
        self.rest.first += taken;
        self.rest.len -= taken;
        Some(chunk)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.len.div_ceil(self.elements);
        (left, Some(left))
    }
}

impl<T: Pod> ExactSizeIterator for SharedChunks<T> {}
impl<T: Pod> FusedIterator for SharedChunks<T> {}

#[cfg(test)]
mod tests {
    use crate::SharedVec;

    #[test]
    fn parts_are_as_those_of_a_slice() {
        let plain: Vec<u32> = (0..10).collect();
        let shared = SharedVec::from_slice(&plain).unwrap().freeze().unwrap();
        for elements in 1..12 {
            let parts: Vec<_> = shared.chunks(elements).map(|part| part.to_vec()).collect();
            assert_eq!(parts, plain.chunks(elements).map(<[u32]>::to_vec).collect::<Vec<_>>());
            assert_eq!(shared.chunks(elements).len(), parts.len());
        }
        assert_eq!(*shared.slice(2..8).slice(1..=2), plain[3..5]);
        assert!(shared.slice(..).slice(10..).is_empty());
        assert_eq!(AsRef::<[u8]>::as_ref(&shared.slice(1..2)), 1_u32.to_ne_bytes());
    }

    #[test]
    #[should_panic = "range 3..11 of a shared slice of 10 elements"]
    fn a_part_past_the_end_is_a_panic() {
        let _ = SharedVec::<u8>::zeroed(10).unwrap().freeze().unwrap().slice(3..11);
    }

    #[test]
    #[should_panic = "at least one element"]
    fn a_chunk_of_nothing_is_a_panic() {
        SharedVec::<u8>::zeroed(10).unwrap().freeze().unwrap().chunks(0);
    }
}
