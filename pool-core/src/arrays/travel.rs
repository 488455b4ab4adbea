//! Arrays as arguments and results: their names and ranges in the bytes of a value, and their descriptors beside it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::Pod;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::element::element_bytes;
use super::slice::SharedSlice;
use super::vec::SharedVec;
use crate::attachments::array::Array;
use crate::attachments::received::copy_of;
use crate::attachments::scope::{self, MARK, Side};
use crate::attachments::{ArrayId, Attachment};

/// An array in the bytes of a value: its name, the first element and the number of elements, and the bytes of an element.
#[derive(Serialize, Deserialize)]
pub(super) struct Part(u64, u64, u64, u64);

impl Part {
    pub(super) fn new<T: Pod>(id: ArrayId, first: usize, len: usize) -> Part {
        Part(id.number(), first as u64, len as u64, element_bytes::<T>().get() as u64)
    }

    pub(super) fn id(&self) -> ArrayId {
        ArrayId::of_number(self.0)
    }

    /// The first element and the number of elements.
    ///
    /// # Errors
    ///
    /// In words: they are elements of another size, or past every address.
    pub(super) fn range<T: Pod>(&self) -> Result<(usize, usize), String> {
        let &Part(_, first, len, element) = self;
        let bytes = element_bytes::<T>().get();
        if element != bytes as u64 {
            return Err(format!("the array has elements of {element} bytes and not of {bytes}"));
        }
        let end = first.checked_add(len).and_then(|end| end.checked_mul(element));
        match end.map(usize::try_from) {
            Some(Ok(_)) => Ok((first as usize, len as usize)),
            _ => Err("it names elements past every address".to_owned()),
        }
    }
}

/// Written by the mark's newtype alone, within the scope that the format opens for it.
pub(super) struct Marked<F>(pub(super) F);

impl<F: Fn() -> Result<Part, String>> Serialize for Marked<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

/// Reads the content of the mark's newtype.
pub(super) struct Reader<T, F> {
    make: F,
    made: PhantomData<fn() -> T>,
}

impl<T, F: FnOnce(Part) -> Result<T, String>> Reader<T, F> {
    pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D, make: F) -> Result<T, D::Error> {
        deserializer.deserialize_newtype_struct(MARK, Reader { make, made: PhantomData })
    }
}

impl<'de, T, F: FnOnce(Part) -> Result<T, String>> Visitor<'de> for Reader<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shared array of a task's arguments or result")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let part = Part::deserialize(deserializer)?;
        (self.make)(part).map_err(de::Error::custom)
    }
}

/// As an argument or a result of a task, or as a part of one: the elements are not copied. Elsewhere it is an error.
impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = || Ok(Part::new::<T>(scope::attach_frozen(&self.array)?, self.first, self.len));
        serializer.serialize_newtype_struct(MARK, &Marked(part))
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reader::read(deserializer, |part| {
            let (first, len) = part.range::<T>()?;
            // A process that lies gets an error here, not a slice past the end.
            let array = scope::frozen(part.id())?;
            if (first + len) * size_of::<T>() > array.memory().bytes().len() {
                return Err("it names elements past the end of the array".to_owned());
            }
            Ok(SharedSlice::part(array, first, len))
        })
    }
}

/// As a result of a task, or as a part of one: the host gets the memory itself. As an argument: a copy of the elements, since the
/// caller may go on writing; [freeze](SharedVec::freeze) it to have them shared. Elsewhere it is an error.
impl<T: Pod> Serialize for SharedVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = || {
            let id = match scope::side()? {
                Side::Rehearsal => self.alias,
                Side::Report => return Err(scope::IN_REPORT.to_owned()),
                Side::Results => {
                    let id = ArrayId::new();
                    scope::attach(Attachment::Given(id, self.buffer.descriptor()));
                    id
                }
                Side::Arguments => {
                    // Now, while the caller lends it: later it may be written again.
                    let bytes = self.len * size_of::<T>();
                    let memory = copy_of(&self.buffer.bytes()[..bytes]).and_then(|copy| copy.freeze(bytes));
                    let array = Array::new(memory.map_err(|error| error.to_string())?);
                    scope::attach(Attachment::Frozen(Arc::clone(&array)));
                    array.id()
                }
            };
            Ok(Part::new::<T>(id, 0, self.len))
        };
        serializer.serialize_newtype_struct(MARK, &Marked(part))
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reader::read(deserializer, |part| {
            let (_, len) = part.range::<T>()?;
            let buffer = scope::owned(part.id(), len * size_of::<T>())?;
            Ok(SharedVec::of_buffer(buffer, len, part.id()))
        })
    }
}
