//! A frozen array made of a file: a copy of its bytes, or the file itself.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytemuck::Pod;
use pool_ipc::FrozenArray;

use super::element::{element_bytes, memory_error};
use super::slice::SharedSlice;
use super::vec::SharedVec;
use crate::error::{Error, ErrorKind, Result};

impl<T: Pod> SharedSlice<T> {
    /// A copy of a file. Its bytes are taken for elements as they are.
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
        // Read straight into the memory that is shared, without a buffer between.
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
        // By the length that is mapped: the file may have changed since it was opened.
        let len = check_size::<T>(path, array.bytes().len())?;
        Ok(SharedSlice::new(array, len))
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

#[cfg(test)]
mod tests {
    use super::*;

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
