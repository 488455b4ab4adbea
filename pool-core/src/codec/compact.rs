//! The default format: postcard's bytes, without field names, and a check that the fields written are the fields read.
//!
//! Postcard writes the fields of a struct one behind the other and nothing else, so both halves of a type must agree on
//! which fields there are. Serde's attributes can make them disagree: `skip_serializing_if`, `skip_serializing` and
//! `skip_deserializing` leave a field out on one side only, and the next value is then taken for it. So each side sums
//! up the [`shape`] of a value, that is the names of the fields in their order, and the sum travels behind the value. On
//! a difference the value is looked at again, since there is a harmless one: a field that has aliases, or two names in
//! different styles. Where names cannot tell, [`confirm`] compares values.

mod access;
mod advice;
mod deserialize;
mod deserializer;
mod doubt;
mod enums;
mod log;
mod noting;
mod reader;
mod serialize;
mod serializer;
mod shape;
#[cfg(test)]
mod tests;
mod totals;
mod varint;
mod watch;

use std::any::TypeId;
use std::cell::Cell;

use serde::{Deserialize, Serialize};

use self::advice::{CROSSED_REMEDY, REMEDY, advice};
use self::deserializer::Deserializer;
use self::enums::Enums;
use self::log::Log;
use self::noting::{Notes, Unnoted};
use self::reader::Reader;
use self::serializer::Serializer;
use self::watch::{Unwatched, Watched};
use crate::attachments::scope::Rehearsing;
use crate::codec::encoder::Encoder;
use crate::codec::error::CodecError;
use crate::codec::limits::write::WriteLimits;
use crate::codec::trace::Group;
use crate::codec::{confirm, limits, type_identity};

/// Appends a value and the sum of its shape.
#[inline]
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    let sum = write_value(value, out)?;
    out.put_array(sum.to_le_bytes());
    Ok(())
}

/// Appends a value. Gives the sum.
#[inline]
fn write_value<T: Serialize + ?Sized>(value: &T, out: &mut Encoder<'_>) -> Result<u32, CodecError> {
    let mut serializer = Serializer::new(out, Unnoted);
    match value.serialize(&mut serializer) {
        // The limit counts even then: an implementation of `Serialize` may have swallowed the error.
        Ok(()) if !serializer.limits.nesting.is_exceeded() => Ok(shape::fold(serializer.sum)),
        result => Err(unwritten(&serializer.limits, result.err())),
    }
}

#[cold]
#[inline(never)]
fn unwritten(limits: &WriteLimits, error: Option<CodecError>) -> CodecError {
    limits.nesting.excess().or(error).unwrap_or_else(|| CodecError::new("past a limit"))
}

/// Takes a value and its sum off the front of the bytes.
#[inline]
pub(crate) fn read<'a, T: Serialize + Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, CodecError> {
    // Before the function below is entered: its frame holds a `T`, and to enter it is to take the stack.
    limits::check_stack::<T>()?;
    read_checked(bytes)
}

// The result is one variable from its beginning to the end, since to move a value that has just been written stalls.
#[inline]
fn read_checked<'a, T: Serialize + Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, CodecError> {
    let whole = *bytes;
    let mut deserializer = Deserializer::new(whole, Unwatched);
    let mut result = T::deserialize(&mut deserializer);
    match &result {
        Ok(value) => match deserializer.reader.complete() {
            Some(rest) => *bytes = rest,
            None => match look_again(value, whole, &deserializer.reader) {
                Ok(rest) => *bytes = rest,
                Err(error) => result = Err(error),
            },
        },
        Err(_) => result = result.map_err(|error| deserializer.reader.failed(error, std::any::type_name::<T>())),
    }
    result
}

/// Reads a value without a sum from the front of the bytes, and returns it with the bytes behind it.
#[cfg(test)]
pub(crate) fn read_alone<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let mut deserializer = Deserializer::new(bytes, Unwatched);
    match T::deserialize(&mut deserializer) {
        Ok(value) => deserializer.reader.limits.nesting.excess().map_or(Ok((value, deserializer.reader.rest)), Err),
        Err(fault) => Err(deserializer.reader.failed(fault, std::any::type_name::<T>())),
    }
}

impl<'a> Reader<'a> {
    /// The bytes behind the value and its sum, if there is no doubt about the value.
    #[inline(always)]
    fn complete(&self) -> Option<&'a [u8]> {
        let (told, rest) = self.rest.split_first_chunk()?;
        let is_sure = self.doubts == 0 && u32::from_le_bytes(*told) == shape::fold(self.sum);
        (is_sure && !self.limits.nesting.is_exceeded()).then_some(rest)
    }

    #[cold]
    #[inline(never)]
    fn failed(&self, error: CodecError, type_name: &str) -> CodecError {
        self.limits.nesting.excess().unwrap_or_else(|| advice(error, type_name))
    }
}

/// A value about which there is some doubt, and the ways to look at it again, so that one function can judge values of all
/// types.
struct Doubtful<'d, 'a> {
    type_name: &'static str,
    identity: TypeId,
    doubts: u8,
    /// The value as it came.
    bytes: &'a [u8],
    /// The sum of its shape as its writer told it, and as it was read.
    sums: Sums,
    read: &'d dyn Fn(Enums) -> Watched<'a>,
    write: &'d dyn Fn(&mut Encoder<'_>) -> Option<u32>,
    write_noting: &'d dyn Fn(&mut Encoder<'_>) -> Option<(u32, Notes)>,
}

/// The two sums of one value.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Sums {
    /// As the writer sent it.
    told: u32,
    read: u32,
}

/// Lets a value pass if no field is left out or taken for another, and no variant has become another. Returns the bytes
/// behind the value and its sum.
///
/// # Errors
///
/// A type writes other fields than it reads, or a limit was passed.
#[cold]
#[inline(never)]
fn look_again<'a, T: Serialize + Deserialize<'a>>(
    value: &T,
    whole: &'a [u8],
    read: &Reader<'a>,
) -> Result<&'a [u8], CodecError> {
    // A limit comes first: a value that passed one may be cut short, and its sum differs for that reason.
    if let Some(error) = read.limits.nesting.excess() {
        return Err(error);
    }
    let _rehearsing = Rehearsing::begin();
    let (told, rest) = match read.rest.split_first_chunk() {
        Some((told, rest)) => (Some(u32::from_le_bytes(*told)), rest),
        None => (None, read.rest),
    };
    let sum = shape::fold(read.sum);
    let doubtful = Doubtful {
        type_name: std::any::type_name::<T>(),
        identity: type_identity::of::<T>(),
        doubts: read.doubts,
        bytes: &whole[..whole.len() - read.rest.len()],
        // Without a sum the two must differ, so that the value is never called sound.
        sums: Sums { told: told.unwrap_or(!sum), read: sum },
        read: &|enums| {
            let mut deserializer = Deserializer::new(whole, Watched::new(whole, enums));
            // The result is of no interest: the value has been read once. An error is expected, since an enum refuses the
            // index by which it is asked for the number of its variants.
            confirm::discard(|| T::deserialize(&mut deserializer));
            deserializer.watch
        },
        write: &|out| write_value(value, out).ok(),
        write_noting: &|out| {
            let mut serializer = Serializer::new(out, Notes::new());
            value.serialize(&mut serializer).ok()?;
            Some((shape::fold(serializer.sum), serializer.noting))
        },
    };
    match told {
        Some(_) => doubtful.accept().map(|()| rest),
        None => Err(doubtful.differs()),
    }
}

thread_local! {
    /// Types with sums that differ harmlessly, so that a type with aliases is compared once.
    static HARMLESS: Cell<[Option<(TypeId, Sums)>; HARMLESS_PAIRS]> = const { Cell::new([None; HARMLESS_PAIRS]) };
}

const HARMLESS_PAIRS: usize = 16;

impl Doubtful<'_, '_> {
    fn accept(&self) -> Result<(), CodecError> {
        // The short way, for a value of an open type that is written back just as it came: it costs one encoding. From time
        // to time its fields are compared as well, until the type is confirmed.
        let is_same = self.sums.told == self.sums.read;
        if is_same && self.doubts == doubt::OPEN && self.is_written_as_it_came() {
            if confirm::is_due() {
                let read = (self.read)(Enums::default());
                confirm::learn(&read.trace, &read.suspects);
            }
            return Ok(());
        }
        // A table of fixed size, where a newcomer replaces: a lost entry costs one more comparison.
        let place = (self.sums.told ^ self.sums.read) as usize % HARMLESS_PAIRS;
        let mut known = HARMLESS.get();
        if self.doubts == 0 && known[place] == Some((self.identity, self.sums)) {
            return Ok(());
        }
        let mut read = (self.read)(Enums::default());
        for key in std::mem::take(&mut read.enums.new) {
            (self.read)(Enums { asked: Some((key, None)), ..Enums::default() }).enums.remember();
            // Met again, now that the answer is known, so that `inexact` counts this enum.
            read.enums.meet(key);
        }
        if is_same && !read.enums.inexact && read.suspects.is_empty() {
            return Ok(());
        }
        // From here the value is written once more with notes, and the two sides are compared part by part.
        let mut out = Encoder::to_vec(Vec::new());
        let Some((sum, mut written)) = (self.write_noting)(&mut out) else { return Err(self.differs()) };
        // A variant that was taken for another is now written as that other one.
        if sum != self.sums.told {
            return Err(self.differs());
        }
        let Ok(by_other_names) = Log::compare(&written.log, &read.log) else { return Err(self.differs()) };
        read.suspects.extend(by_other_names);
        if let Some(group) = self.crossed(&mut read, &mut written, out.written()) {
            return Err(CodecError::new(confirm::text(&group.place.name, CROSSED_REMEDY)));
        }
        let all_confirmed = confirm::learn(&read.trace, &read.suspects);
        // Remembered only if the names alone would decide next time: values and variants can differ under equal sums.
        if all_confirmed && !read.enums.inexact && written.log.has_same_variants(&read.log) {
            known[place] = Some((self.identity, self.sums));
            HARMLESS.set(known);
        }
        Ok(())
    }

    /// The suspect that writes other fields than it reads.
    fn crossed<'r>(&self, read: &'r mut Watched<'_>, written: &mut Notes, bytes: &[u8]) -> Option<&'r Group> {
        let is_equal = read.trace.finish(self.bytes) == written.trace.finish(bytes);
        confirm::crossed(&read.trace, &written.trace, &read.suspects, is_equal)
    }

    fn is_written_as_it_came(&self) -> bool {
        let mut out = Encoder::to_vec(Vec::new());
        (self.write)(&mut out).is_some() && out.written() == self.bytes
    }

    /// Names the type that writes other than it reads.
    #[cold]
    fn differs(&self) -> CodecError {
        let read = (self.read)(Enums::default());
        let written = (self.write_noting)(&mut Encoder::to_vec(Vec::new()));
        let written = written.map(|(_, notes)| notes.log).unwrap_or_default();
        let difference = match Log::compare(&written, &read.log) {
            Err(difference) => difference,
            Ok(_) if written.enums().is_empty() => {
                format!("`{}` is written otherwise than it is read", self.type_name)
            }
            Ok(_) => {
                format!("a variant is taken for another, because one of `{}` is skipped", written.enums().join("`, `"))
            }
        };
        CodecError::new(format!(
            "{difference}, and the default format has no names to tell so: remove serde's `skip` attribute (or mend what \
             was implemented by hand), or {REMEDY}"
        ))
    }
}
