//! The default format: postcard's bytes, without field names, and a check that what was written is what is read.
//!
//! Postcard writes the fields of a struct one behind the other and nothing else, so both halves of a type must agree on
//! which fields there are. Serde's attributes can make them disagree: `skip_serializing_if`, `skip_serializing` and
//! `skip_deserializing` leave a field out on one side only, and the next value is then taken for it. So each side sums
//! up the [`shape`] of a value, that is the names of the fields in their order, and the sum travels behind the value. On
//! a difference the value is looked at again, since there is a harmless one: a field that has aliases, or two names in
//! different styles.

mod access;
mod deserializer;
mod enums;
mod log;
mod serializer;
mod shape;
#[cfg(test)]
mod tests;
mod totals;

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use self::deserializer::Cold;
pub(crate) use self::deserializer::Deserializer;
use self::enums::{Enums, Key};
use self::log::Log;
use self::serializer::Serializer;
use crate::codec::CodecError;
use crate::codec::bounded::{self, WriteLimits};
use crate::codec::encoder::Encoder;
use crate::codec::fault::{Cause, Fault};

/// The advice for a type that this format cannot carry.
const REMEDY: &str = "annotate the task with `#[pool_task(codec = \"cbor\")]`";

/// Appends a value and the sum of its shape.
#[inline]
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    let limits = WriteLimits::new();
    let mut serializer = Serializer::<false>::new(out, &limits);
    bounded::put(value, &mut serializer, &limits)?;
    let sum = serializer.sum;
    out.put(&shape::fold(sum).to_le_bytes());
    Ok(())
}

/// Takes a value off the front of the bytes, and leaves what is behind it.
#[inline]
pub(crate) fn read<'a, T: Serialize + Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, CodecError> {
    bounded::check_stack::<T>()?;
    read_checked(bytes)
}

#[inline]
fn read_checked<'a, T: Serialize + Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, CodecError> {
    let whole = *bytes;
    let mut deserializer = Deserializer::new(whole);
    let result = bounded::take_from::<T>(&mut deserializer);
    let Ok(value) = &result else { return result };
    let sum = shape::fold(deserializer.sum);
    match deserializer.rest.split_first_chunk() {
        Some((told, rest)) => {
            *bytes = rest;
            if *told != sum.to_le_bytes() || deserializer.cold.is_some() {
                let sums = Sums { told: u32::from_le_bytes(*told), read: sum };
                accept(value, whole, sums, deserializer.cold)?;
            }
            result
        }
        None => Err(differs(value, whole)),
    }
}

/// The two sums of one value.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Sums {
    /// By who wrote it.
    told: u32,
    read: u32,
}

/// What an error says after the bytes have turned out to be of another type.
#[cold]
pub(crate) fn advice(fault: &Fault, type_name: &str) -> String {
    match fault.cause() {
        Cause::Bytes => format!(
            "{fault}; unless something has overwritten these bytes, a type among them writes other fields than it reads \
             (serde's `skip_serializing`, `skip_serializing_if` or `skip_deserializing`, or an implementation by hand): \
             {REMEDY}, or make both sides agree"
        ),
        Cause::Format if !fault.has_place() => format!("`{type_name}`: {fault}"),
        Cause::Type | Cause::Format => fault.to_string(),
    }
}

thread_local! {
    /// Pairs of sums that have been found to be harmless, so that types with aliases are compared once.
    static HARMLESS: Cell<[Option<Sums>; HARMLESS_PAIRS]> = const { Cell::new([None; HARMLESS_PAIRS]) };
}

const HARMLESS_PAIRS: usize = 16;

/// Lets a value pass whose sums differ, if no field is left out and no variant has become another.
///
/// # Errors
///
/// Which type writes other than it reads.
#[cold]
fn accept<'a, T: Serialize + Deserialize<'a>>(
    value: &T,
    bytes: &'a [u8],
    sums: Sums,
    cold: Option<Box<Cold>>,
) -> Result<(), CodecError> {
    let mut enums = cold.map(|cold| cold.enums).unwrap_or_default();
    for key in std::mem::take(&mut enums.new) {
        ask::<T>(bytes, key);
        // Now it is known.
        enums.meet(key);
    }
    let place = (sums.told ^ sums.read) as usize % HARMLESS_PAIRS;
    let mut known = HARMLESS.get();
    if !enums.inexact && (sums.told == sums.read || known[place] == Some(sums)) {
        return Ok(());
    }
    let Some((written, again)) = rewritten(value) else { return Err(differs(value, bytes)) };
    let read = reread::<T>(bytes);
    // A variant that was taken for another is now written as that other one.
    if again != sums.told || Log::compare(&written, &read).is_err() {
        return Err(differs(value, bytes));
    }
    if !enums.inexact && written.has_same_variants(&read) {
        known[place] = Some(sums);
        HARMLESS.set(known);
    }
    Ok(())
}

/// Asks the enum how many variants it reads.
fn ask<'a, T: Deserialize<'a>>(bytes: &'a [u8], key: Key) {
    let mut deserializer = Deserializer::new(bytes);
    let enums = Enums { asked: Some((key, None)), ..Enums::default() };
    deserializer.cold = Some(Box::new(Cold { enums, log: None }));
    // The enum refuses an index that is too large, and with it the value.
    let _ = bounded::take_from::<T>(&mut deserializer);
    if let Some(cold) = &deserializer.cold {
        cold.enums.remember();
    }
}

/// The value as it would be written now: its structs, and the sum.
fn rewritten<T: Serialize>(value: &T) -> Option<(Log, u32)> {
    let mut out = Encoder::to_vec(Vec::new());
    // It has been decoded within the limits.
    let limits = WriteLimits::new();
    let mut serializer = Serializer::<true>::new(&mut out, &limits);
    serializer.log = Some(Box::default());
    value.serialize(&mut serializer).ok()?;
    let sum = shape::fold(serializer.sum);
    Some((*serializer.log?, sum))
}

/// The structs of the value in these bytes, as they are read.
fn reread<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Log {
    let mut deserializer = Deserializer::new(bytes);
    deserializer.cold = Some(Box::new(Cold { log: Some(Log::default()), ..Cold::default() }));
    // That it can be read has been seen.
    let _ = bounded::take_from::<T>(&mut deserializer);
    deserializer.cold.and_then(|cold| cold.log).unwrap_or_default()
}

/// Names the type that writes other than it reads.
#[cold]
fn differs<'a, T: Serialize + Deserialize<'a>>(value: &T, bytes: &'a [u8]) -> CodecError {
    let read = reread::<T>(bytes);
    let written = rewritten(value).map(|(log, _)| log).unwrap_or_default();
    let what = match Log::compare(&written, &read) {
        Err(difference) => difference,
        Ok(()) if written.enums().is_empty() => {
            format!("`{}` is written otherwise than it is read", std::any::type_name::<T>())
        }
        Ok(()) => {
            format!("a variant is taken for another, because one of `{}` is skipped", written.enums().join("`, `"))
        }
    };
    CodecError::new(format!(
        "{what}, and the default format has no names to tell so: remove serde's `skip` attribute (or mend what was \
         implemented by hand), or {REMEDY}"
    ))
}
