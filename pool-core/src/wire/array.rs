//! A shared array beside a request or a reply.

use std::sync::Arc;
use std::{fmt, io};

use pool_ipc::ArrayBuffer;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::bytes;
use crate::attachments::array::Array as Frozen;
use crate::attachments::received::{Content, GivenMemory, ReceivedArray};
use crate::attachments::{ArrayId, Attachment, Attachments, Kind};
use crate::error::{Error, ErrorKind, Result};

/// A shared array that the arguments of a [`Request`](super::Request) name, or the value of an [`Outcome`](super::Outcome).
///
/// The bytes of a value hold no more of an array than its name and a range. Its clones are the same memory. With serde its bytes are
/// written and read; a link that has a better way for large bytes takes the arrays out of the request before, and puts them back.
///
/// # Examples
///
/// ```
/// use pool_core::remote::Array;
///
/// # fn main() -> pool_core::Result<()> {
/// let array = Array::new(1 << 63, false, 3, |bytes| {
///     bytes.copy_from_slice(b"abc");
///     Ok(())
/// })?;
/// assert_eq!((array.name(), array.bytes()), (1 << 63, &b"abc"[..]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Array {
    id: ArrayId,
    memory: Memory,
}

#[derive(Clone)]
enum Memory {
    /// Nobody writes it.
    Frozen(Arc<Frozen>),
    /// It is the value's alone: the first so many bytes.
    Given(Arc<ArrayBuffer>, usize),
}

impl Array {
    /// An array of so many bytes, which `fill` writes. `is_given` says whether it belongs to its value alone, which may write it: a
    /// `SharedVec`.
    ///
    /// # Errors
    ///
    /// That of `fill`, or [`System`](ErrorKind::System): the system refuses the memory.
    pub fn new(name: u64, is_given: bool, bytes: usize, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Array> {
        let failed =
            |error: pool_ipc::Error| Error::new(ErrorKind::System, format!("memory for a shared array: {error}"));
        let mut buffer = ArrayBuffer::with_capacity(bytes).map_err(failed)?;
        fill(&mut buffer.bytes_mut()[..bytes])?;
        let id = ArrayId::of_number(name);
        let memory = match is_given {
            // Not sealed, so that its owner may write it and give it away again.
            true => Memory::Given(Arc::new(buffer), bytes),
            false => Memory::Frozen(Frozen::of_host(id, buffer.freeze(bytes).map_err(failed)?)),
        };
        Ok(Array { id, memory })
    }

    /// The name by which values refer to it. No two arrays of any machines have the same.
    pub fn name(&self) -> u64 {
        self.id.number()
    }

    /// Whether it belongs to its value alone, which may write it.
    pub fn is_given(&self) -> bool {
        matches!(self.memory, Memory::Given(..))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Frozen(array) => array.memory().bytes(),
            Memory::Given(buffer, bytes) => &buffer.bytes()[..*bytes],
        }
    }

    /// Whether somebody else holds a clone of it, or its value.
    pub fn is_held(&self) -> bool {
        match &self.memory {
            Memory::Frozen(array) => Arc::strong_count(array) > 1,
            Memory::Given(buffer, _) => Arc::strong_count(buffer) > 1,
        }
    }

    /// The arrays of some arguments. One that is lent does not go to another machine, and is none of them.
    pub(crate) fn of_arguments(list: &Attachments) -> Option<Vec<Array>> {
        let array = |attachment: &Attachment| match attachment {
            Attachment::Frozen(array) => Some(Array { id: array.id(), memory: Memory::Frozen(Arc::clone(array)) }),
            Attachment::Given(..) | Attachment::Lent(_) => None,
        };
        // All or none: a value without one of its arrays cannot be read.
        list.iter().map(array).collect()
    }

    /// The memory, if nobody writes it.
    pub(crate) fn frozen(&self) -> Option<&Arc<Frozen>> {
        match &self.memory {
            Memory::Frozen(array) => Some(array),
            Memory::Given(..) => None,
        }
    }

    /// The array of a result.
    ///
    /// # Errors
    ///
    /// In words: it is none, or was taken already.
    pub(crate) fn of_result(received: &ReceivedArray) -> std::result::Result<Array, String> {
        let memory = match &received.content {
            Content::Frozen(array) => Memory::Frozen(Arc::clone(array)),
            Content::Given(memory) => {
                // With its spare room, since its length stands in the value alone.
                let buffer = GivenMemory::take_all(memory)?;
                let bytes = buffer.capacity();
                Memory::Given(Arc::new(buffer), bytes)
            }
            Content::Failed(error) => return Err(error.to_string()),
        };
        Ok(Array { id: received.id, memory })
    }

    /// The same, as a worker would have sent it with a result; with its kind. One of the request's `own` is that.
    ///
    /// # Errors
    ///
    /// The system has no descriptor, or no address space.
    pub(crate) fn received(&self, own: &[Array]) -> io::Result<(Kind, ReceivedArray)> {
        let id = self.id;
        let frozen = |array: &Arc<Frozen>| ReceivedArray { id, content: Content::Frozen(Arc::clone(array)) };
        Ok(match &self.memory {
            Memory::Given(buffer, _) => {
                (Kind::Given, ReceivedArray::new(id, Kind::Given, buffer.descriptor().try_clone()?))
            }
            Memory::Frozen(array) => match own.iter().filter(|own| own.id == id).find_map(Array::frozen) {
                Some(own) => (Kind::Sealed, frozen(own)),
                // Under another name here, since the other machine may send this one again.
                None => {
                    let fd = array.memory().as_fd().try_clone_to_owned()?;
                    (Kind::Sealed, ReceivedArray::new(id, Kind::Sealed, fd))
                }
            },
        })
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = (self.name(), self.bytes().len());
        f.debug_struct("Array").field("name", &name).field("is_given", &self.is_given()).field("bytes", &bytes).finish()
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Array) -> bool {
        (self.id, self.is_given()) == (other.id, other.is_given()) && self.bytes() == other.bytes()
    }
}

impl Eq for Array {}

/// Its bytes, for serde.
struct Borrowed<'b>(&'b [u8]);

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        bytes::serialize(self.0, serializer)
    }
}

/// The same that was read.
#[derive(Deserialize)]
struct Owned(#[serde(with = "bytes")] Vec<u8>);

impl Serialize for Array {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // By hand: the memory is no vector that a derive could write.
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&self.name())?;
        tuple.serialize_element(&self.is_given())?;
        tuple.serialize_element(&Borrowed(self.bytes()))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (name, is_given, bytes): (u64, bool, Owned) = Deserialize::deserialize(deserializer)?;
        // As many bytes as have come, whatever their sender claims.
        let fill = |memory: &mut [u8]| {
            memory.copy_from_slice(&bytes.0);
            Ok(())
        };
        Array::new(name, is_given, bytes.0.len(), fill).map_err(de::Error::custom)
    }
}
