//! An array that one process fills.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytemuck::Pod;
use pool_ipc::ArrayBuffer;

use super::element::{bytes_of, memory_error};
use super::slice::SharedSlice;
use crate::attachments::ArrayId;
use crate::attachments::loan::{Known, Loan, Returned};
use crate::error::Result;

/// A growable array in shared memory, which this process fills and then [freezes](SharedVec::freeze).
///
/// It is used as a `Vec`: it lends `&[T]` and `&mut [T]`. Its memory is a memfd of its own, allocated when it is asked for, so that a
/// machine without memory is an error here and not a signal later; from 2 MiB on in large pages, where the kernel has some
/// (Linux 6.1, unless `/sys/kernel/mm/transparent_hugepage/shmem_enabled` is `deny`).
///
/// The elements are plain data, [`bytemuck::Pod`]: numbers, arrays of numbers, and structs that derive `Pod`. An element must
/// have at least one byte, which is checked when the program is compiled.
///
/// ```
/// use pool_core::SharedVec;
///
/// # fn main() -> pool_core::Result<()> {
/// let mut squares = SharedVec::with_capacity(1000)?;
/// for x in 0..1000_u64 {
///     squares.push(x * x)?;
/// }
/// squares[0] = 7;
/// let squares = squares.freeze()?;
/// assert_eq!((squares[0], squares[999], squares.len()), (7, 998_001, 1000));
/// # Ok(()) }
/// ```
///
/// A process that this one forks does not get the memory: it may drop its copy, and dies by SIGSEGV if it looks inside.
pub struct SharedVec<T: Pod> {
    pub(super) buffer: ArrayBuffer,
    pub(super) len: usize,
    /// Its name in the value with which it came from another process.
    pub(super) alias: ArrayId,
    /// Its name among workers that may have parts of it mapped.
    known: Option<Known>,
    /// Workers may have parts of it mapped, or may have been asked to unmap them.
    was_lent: bool,
    elements: PhantomData<T>,
}

impl<T: Pod> SharedVec<T> {
    /// An empty array with room for `capacity` elements.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) beyond the memory that is left, or beyond `RLIMIT_FSIZE`;
    /// [`ErrorKind::System`](crate::ErrorKind::System) where the kernel gives no memory or no descriptor.
    pub fn with_capacity(capacity: usize) -> Result<SharedVec<T>> {
        let buffer = ArrayBuffer::with_capacity(bytes_of::<T>(capacity)?).map_err(memory_error)?;
        Ok(SharedVec::of_buffer(buffer, 0, ArrayId::NONE))
    }

    /// The first `len` elements of the memory, which must hold them.
    pub(super) fn of_buffer(buffer: ArrayBuffer, len: usize, alias: ArrayId) -> SharedVec<T> {
        SharedVec { buffer, len, alias, known: None, was_lent: false, elements: PhantomData }
    }

    /// An array of `len` elements, all bytes of which are zero.
    ///
    /// ```
    /// let pixels = pool_core::SharedVec::<u32>::zeroed(640 * 480)?;
    /// assert!(pixels.iter().all(|pixel| *pixel == 0));
    /// # Ok::<(), pool_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](SharedVec::with_capacity).
    pub fn zeroed(len: usize) -> Result<SharedVec<T>> {
        // Fresh memory of the kernel is zero, and `Pod` says that zero bytes are a value.
        let mut vec = SharedVec::with_capacity(len)?;
        vec.len = len;
        Ok(vec)
    }

    /// A copy of these elements.
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](SharedVec::with_capacity).
    pub fn from_slice(elements: &[T]) -> Result<SharedVec<T>> {
        let mut vec = SharedVec::with_capacity(elements.len())?;
        vec.extend_from_slice(elements)?;
        Ok(vec)
    }

    /// An array of the elements of an iterator.
    ///
    /// ```
    /// let numbers = pool_core::SharedVec::try_from_iter((0..5).map(f64::from))?;
    /// assert_eq!(*numbers, [0.0, 1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), pool_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](SharedVec::with_capacity).
    pub fn try_from_iter(elements: impl IntoIterator<Item = T>) -> Result<SharedVec<T>> {
        let elements = elements.into_iter();
        // The lower bound alone: an iterator may promise more than memory holds.
        let mut vec = SharedVec::with_capacity(elements.size_hint().0)?;
        for element in elements {
            vec.push(element)?;
        }
        Ok(vec)
    }

    /// Appends an element; the memory doubles when it is full.
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](SharedVec::with_capacity); the array is then as before.
    pub fn push(&mut self, element: T) -> Result<()> {
        self.extend_from_slice(&[element])
    }

    /// Appends copies of these elements.
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](SharedVec::with_capacity); the array is then as before.
    pub fn extend_from_slice(&mut self, elements: &[T]) -> Result<()> {
        let len = self.len + elements.len();
        if len > self.capacity() {
            // Doubled, so that pushing one by one seldom has to ask the kernel.
            let doubled = bytes_of::<T>(len)?.max(self.buffer.capacity().saturating_mul(2));
            // There may be memory for the elements, but not for twice as much.
            self.buffer
                .grow(doubled)
                .or_else(|_| self.buffer.grow(bytes_of::<T>(len).unwrap_or(usize::MAX)))
                .map_err(memory_error)?;
        }
        // The length first: the slice below ends there.
        let end = std::mem::replace(&mut self.len, len);
        self[end..].copy_from_slice(elements);
        Ok(())
    }

    /// Lends the array to workers, until nobody has the loan any more.
    pub(crate) fn lend(&mut self) -> (Arc<Loan>, Arc<Returned>) {
        // For ever: workers that were asked to unmap it may not have got to that yet.
        self.was_lent = true;
        Loan::new(self.known.get_or_insert_with(Known::new), self.buffer.descriptor())
    }

    /// Moves the elements to other memory, since a process that was given up may go on writing where they are.
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](SharedVec::with_capacity); the array is empty then.
    pub(crate) fn move_away(&mut self) -> Result<()> {
        // Workers know the old memory under this name.
        self.known = None;
        let moved = self.buffer.move_away();
        self.len = if moved.is_ok() { self.len } else { 0 };
        moved.map_err(memory_error)
    }

    /// Has all workers forget the array, with the reason why one could not take it.
    pub(crate) fn forget_workers(&mut self) {
        self.known = None;
    }

    /// Elements for which there is memory.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity() / size_of::<T>()
    }

    /// Makes the array one that nobody can write any more, in whatever process, so that all may read it at the same time.
    ///
    /// Memory behind the last element is given back. The elements stay where they are: nothing is copied, unless a worker that
    /// has written a part of them is at a part of another array and does not get to unmap it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`](crate::ErrorKind::System) if the kernel refuses the seal, with `EBUSY` if another process has the memory
    /// mapped writable. The array is gone then.
    pub fn freeze(self) -> Result<SharedSlice<T>> {
        let SharedVec { buffer, len, known, was_lent, .. } = self;
        // Has workers unmap it.
        drop(known);
        let bytes = len * size_of::<T>();
        let array = if was_lent { buffer.freeze_returned(bytes) } else { buffer.freeze(bytes) };
        Ok(SharedSlice::new(array.map_err(memory_error)?, len))
    }
}

impl<T: Pod> Deref for SharedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.buffer.bytes()[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> DerefMut for SharedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.buffer.bytes_mut()[..self.len * size_of::<T>()])
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_like_a_vec() {
        let mut shared = SharedVec::with_capacity(0).unwrap();
        let mut plain = Vec::new();
        for x in 0..100_000_u32 {
            shared.push(x).unwrap();
            plain.push(x);
        }
        shared.extend_from_slice(&plain).unwrap();
        plain.extend_from_within(..);
        assert_eq!(*shared, *plain);
        shared[3] = 9;
        assert_eq!((shared[3], shared.len()), (9, 200_000));
    }

    #[test]
    fn an_array_that_no_machine_has_is_an_error() {
        use crate::error::ErrorKind::TooLarge;
        assert_eq!(SharedVec::<u64>::zeroed(usize::MAX).unwrap_err().kind(), TooLarge);
        assert_eq!(SharedVec::<u8>::zeroed(1 << 60).unwrap_err().kind(), TooLarge);
    }
}
