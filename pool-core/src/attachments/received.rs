//! The arrays that a worker has sent with a result.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use pool_ipc::{ArrayBuffer, FrozenArray};

use super::array::Array;
use super::id::{ArrayId, Kind};

/// All arrays of one result.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) arrays: Arc<[ReceivedArray]>,
    /// The result is looked at while it stays where it is.
    pub(crate) is_copy: bool,
}

#[derive(Debug)]
pub(crate) struct ReceivedArray {
    pub(crate) id: ArrayId,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Frozen(Arc<Array>),
    Given(Mutex<GivenMemory>),
    /// It could not be received, or is not as it should be.
    Failed(io::Error),
}

/// Memory that a worker has given away. Somebody may have taken it already.
#[derive(Debug)]
pub(crate) struct GivenMemory {
    fd: OwnedFd,
    is_taken: bool,
}

impl ReceivedArray {
    /// Makes an array of a descriptor.
    pub(crate) fn new(id: ArrayId, kind: Kind, fd: OwnedFd) -> ReceivedArray {
        let content = match kind {
            Kind::Sealed => match FrozenArray::open(fd) {
                Ok(memory) => Content::Frozen(Array::of_worker(id, memory)),
                Err(error) => Content::Failed(io_error(error)),
            },
            Kind::Given => Content::Given(Mutex::new(GivenMemory { fd, is_taken: false })),
            // The host cannot know that nobody writes such memory.
            Kind::File | Kind::Lent => Content::Failed(io::Error::other("a worker sent memory that is not sealed")),
        };
        ReceivedArray { id, content }
    }

    /// Why it is none.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        match &self.content {
            Content::Failed(error) => Some(
                error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error),
            ),
            _ => None,
        }
    }
}

impl GivenMemory {
    /// All of the memory, if nobody has taken it.
    ///
    /// # Errors
    ///
    /// In words, as of [`take`](GivenMemory::take).
    #[cfg(feature = "remote")]
    pub(crate) fn take_all(this: &Mutex<GivenMemory>) -> Result<ArrayBuffer, String> {
        GivenMemory::take(this, 0, false)
    }

    /// The memory, of at least so many bytes. A copy if it is only looked at.
    ///
    /// # Errors
    ///
    /// In words: it has been taken, or is not as it should be.
    pub(crate) fn take(this: &Mutex<GivenMemory>, bytes: usize, as_copy: bool) -> Result<ArrayBuffer, String> {
        let mut this = this.lock().unwrap_or_else(PoisonError::into_inner);
        if this.is_taken && !as_copy {
            return Err("the array has been taken already: the value names it twice".to_owned());
        }
        // A value that is only looked at leaves the array for the one that is taken.
        this.is_taken |= !as_copy;
        // A second descriptor: the first one stays for those that look at the value later.
        let adopt = |fd: OwnedFd| ArrayBuffer::adopt(fd, bytes).map_err(|error| error.to_string());
        let buffer = this.fd.try_clone().map_err(|error| error.to_string()).and_then(adopt)?;
        if as_copy { copy_of(&buffer.bytes()[..bytes]).map_err(|error| error.to_string()) } else { Ok(buffer) }
    }
}

/// Fresh memory with these bytes.
pub(crate) fn copy_of(bytes: &[u8]) -> Result<ArrayBuffer, pool_ipc::Error> {
    let mut buffer = ArrayBuffer::with_capacity(bytes.len())?;
    buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    Ok(buffer)
}

/// The system's error, where it is one.
pub(crate) fn io_error(error: pool_ipc::Error) -> io::Error {
    match error {
        pool_ipc::Error::System { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}
