//! An array that nobody can write any more.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use pool_ipc::FrozenArray;

use super::{SharedVec, element_bytes, memory_error};
use crate::error::{Error, ErrorKind, Result};

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
    array: Arc<FrozenArray>,
    /// The first element.
    first: usize,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> SharedSlice<T> {
    pub(super) fn new(array: FrozenArray, len: usize) -> SharedSlice<T> {
        debug_assert_eq!(array.bytes().len(), len * size_of::<T>());
        SharedSlice { array: Arc::new(array), first: 0, len, elements: PhantomData }
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
        assert!(start <= end && end <= self.len, "range {start}..{end} of a shared slice of {} elements", self.len);
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

    /// A copy of a file, whose bytes are taken for elements as they are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the file cannot be read, [`ErrorKind::InvalidInput`] if its size is no multiple of an
    /// element's, and those of [`SharedVec::with_capacity`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<SharedSlice<T>> {
        let path = path.as_ref();
        let reading = |error| Error::system(&format!("reading {}", path.display()), error);
        let mut file = File::open(path).map_err(reading)?;
        let bytes = usize::try_from(file.metadata().map_err(reading)?.len()).unwrap_or(usize::MAX);
        let mut vec = SharedVec::<T>::zeroed(check_size::<T>(path, bytes)?)?;
        file.read_exact(bytemuck::cast_slice_mut(&mut vec)).map_err(reading)?;
        // A file that grows meanwhile would be cut in silence.
        if file.read(&mut [0]).map_err(reading)? > 0 {
            let text = format!("{} has grown while it was read", path.display());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        vec.freeze()
    }

    /// The file itself, mapped: nothing is copied, and nothing is read before it is used.
    ///
    /// # Safety
    ///
    /// No process may write the file, or change its size, while a part of the slice lives in any process: the elements
    /// would change under a reference, or end in SIGBUS.
    ///
    /// # Errors
    ///
    /// As [`from_file`](SharedSlice::from_file).
    #[allow(unsafe_code)]
    pub unsafe fn map_file(path: impl AsRef<Path>) -> Result<SharedSlice<T>> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| Error::system(&format!("reading {}", path.display()), error))?;
        // SAFETY: nobody writes the file, by the caller's promise.
        let array = unsafe { FrozenArray::map_file(file) }.map_err(memory_error)?;
        let len = check_size::<T>(path, array.bytes().len())?;
        Ok(SharedSlice::new(array, len))
    }

    fn bytes(&self) -> &[u8] {
        &self.array.bytes()[self.first * size_of::<T>()..][..self.len * size_of::<T>()]
    }
}

/// The elements in so many bytes of a file.
fn check_size<T: Pod>(path: &Path, bytes: usize) -> Result<usize> {
    let element = element_bytes::<T>().get();
    if !bytes.is_multiple_of(element) {
        let text = format!("{} has {bytes} bytes, which is no multiple of an element's {element}", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(bytes / element)
}

impl<T: Pod> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
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
    use super::*;

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
        assert_eq!(*shared.slice(..).slice(10..), []);
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

    #[test]
    fn files_are_copied_or_mapped() {
        let path = std::env::temp_dir().join(format!("pool-array-{}", std::process::id()));
        std::fs::write(&path, [1, 0, 2, 0, 3, 0]).unwrap();
        assert_eq!(*SharedSlice::<u16>::from_file(&path).unwrap(), [1, 2, 3]);
        let error = SharedSlice::<u32>::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("6 bytes"), "{error}");
        // SAFETY: nobody writes this file.
        #[allow(unsafe_code)]
        let mapped = unsafe { SharedSlice::<u16>::map_file(&path) }.unwrap();
        assert_eq!(*mapped, [1, 2, 3]);
        std::fs::write(&path, []).unwrap();
        assert!(SharedSlice::<u64>::from_file(&path).unwrap().is_empty());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(SharedSlice::<u64>::from_file(&path).unwrap_err().kind(), ErrorKind::System);
    }
}
