//! The format of `#[pool_task(codec = "cbor")]`: values that describe themselves.
//!
//! It is CBOR (RFC 8949) with the names of fields and variants as text. One thing is added: a `None` or `()` directly
//! within a `Some` has a tag in front, since both are CBOR's null. The format calls itself readable by humans, as the
//! buffer does in which serde keeps the content of untagged enums: both must choose the same form of an `IpAddr`.
//!
//! It is written here, because the crates that were tried bring back other values than were sent: ciborium makes `None` of `Some(None)` and of `Some(())`, cbor4ii and
//! minicbor-serde of `Some(None)`, and the latter two make an empty sequence of `serde_json::Value::Null`.

mod access;
mod deserialize;
mod deserializer;
mod head;
mod items;
mod serializer;
#[cfg(test)]
mod tests;
mod watch;

use serde::{Deserialize, Serialize};

use self::deserializer::Deserializer;
use self::serializer::Serializer;
use self::watch::{Watched, doubt};
use crate::attachments::scope::{Reading, Rehearsing};
use crate::codec::encoder::Encoder;
use crate::codec::error::CodecError;
use crate::codec::trace::Trace;
use crate::codec::{confirm, limits};

/// The byte behind a value says whether the value has fields without names.
const WITHOUT_TUPLES: u8 = 0;
const WITH_TUPLES: u8 = 1;

/// Appends a value.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    let (has_tuples, _) = write_value(value, out, None)?;
    out.put(&[if has_tuples { WITH_TUPLES } else { WITHOUT_TUPLES }]);
    Ok(())
}

/// Appends a value. Gives whether there are fields without names in it, and the trace.
fn write_value<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Encoder<'_>,
    trace: Option<Trace>,
) -> Result<(bool, Option<Trace>), CodecError> {
    let mut serializer = Serializer::new(out, trace);
    let result = value.serialize(&mut serializer);
    match (result, serializer.limits.nesting.excess()) {
        (Ok(()), None) => Ok((serializer.has_tuples, serializer.trace)),
        (_, Some(error)) => Err(error),
        (Err(fault), None) => Err(CodecError::new(fault.to_string())),
    }
}

/// Takes a value off the front of the bytes. Returns the rest of them, too.
pub(crate) fn read<'a, T: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    // Before the function below is entered: its frame holds a `T`, and to enter it is to take the stack.
    limits::check_stack::<T>()?;
    // All the while, since serde buffers the contents of untagged enums and their like, and reads them from there.
    let _reading = Reading::begin();
    read_checked(bytes)
}

fn read_checked<'a, T: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let mut deserializer = Deserializer::new(bytes, None);
    match T::deserialize(&mut deserializer) {
        Ok(value) => match deserializer.complete()? {
            (rest, 0) => Ok((value, rest)),
            (rest, doubts) => look_again(&value, bytes, deserializer.rest, doubts).map(|()| (value, rest)),
        },
        Err(fault) => Err(deserializer.failed(&fault)),
    }
}

/// Takes a value with nothing behind it that tells of it off the front of the bytes.
#[cfg(test)]
fn read_alone<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    limits::check_stack::<T>()?;
    let mut deserializer = Deserializer::new(bytes, None);
    match T::deserialize(&mut deserializer) {
        Ok(value) => deserializer.limits.nesting.excess().map_or(Ok((value, deserializer.rest)), Err),
        Err(fault) => Err(deserializer.failed(&fault)),
    }
}

impl<'a> Deserializer<'a> {
    /// The bytes behind the value, and the doubts about it.
    fn complete(&self) -> Result<(&'a [u8], u8), CodecError> {
        // Also where the value was read: an implementation of `Deserialize` may have swallowed the error.
        if let Some(error) = self.limits.nesting.excess() {
            return Err(error);
        }
        match self.rest.split_first() {
            Some((&WITH_TUPLES, rest)) => Ok((rest, self.doubts)),
            // The writer had no tuples, so each array was a sequence.
            Some((&WITHOUT_TUPLES, rest)) => Ok((rest, self.doubts & !doubt::UNTYPED)),
            _ => Err(CodecError::new("the end of the value is missing")),
        }
    }

    #[cold]
    fn failed(&self, fault: &CodecError) -> CodecError {
        self.limits.nesting.excess().unwrap_or_else(|| CodecError::new(fault.to_string()))
    }
}

/// Lets a value pass if no field in it was taken for another, see [`confirm`].
///
/// # Errors
///
/// The type that writes other fields than it reads.
#[cold]
fn look_again<'a, T: Serialize + Deserialize<'a>>(
    value: &T,
    whole: &'a [u8],
    rest: &'a [u8],
    doubts: u8,
) -> Result<(), CodecError> {
    let _rehearsing = Rehearsing::begin();
    let bytes = &whole[..whole.len() - rest.len()];
    let mut out = Encoder::to_vec(Vec::new());
    let written = write_value(value, &mut out, Some(Trace::new())).ok().and_then(|(_, trace)| trace);
    // Equal bytes are right, see `confirm`. Only a look at the fields confirms an open type and so ends the doubt, which is
    // why some values are compared field by field all the same.
    let is_same = written.is_some() && out.written() == bytes;
    if is_same && doubts & doubt::REFUSED == 0 && (doubts & doubt::OPEN == 0 || !confirm::is_due()) {
        return Ok(());
    }
    let mut deserializer = Deserializer::new(whole, Some(Box::new(Watched::new(whole))));
    // The result is of no interest: the value has been read once, and this time its parts are noted.
    confirm::discard(|| T::deserialize(&mut deserializer));
    let read = deserializer.watch.unwrap_or_else(|| Box::new(Watched::new(whole)));
    judge(std::any::type_name::<T>(), doubts, *read, written, (bytes, out.written()))
}

/// The same for all types.
fn judge(
    type_name: &str,
    doubts: u8,
    mut read: Watched<'_>,
    written: Option<Trace>,
    (bytes, again): (&[u8], &[u8]),
) -> Result<(), CodecError> {
    let mut written = written.unwrap_or_else(Trace::new);
    let is_equal = bytes == again || read.trace.finish(bytes) == written.finish(again);
    // A value that was read without its type has other parts than were written, but the same bytes. They may have another
    // order, since maps have none.
    let is_equal = is_equal || doubts & doubt::UNTYPED != 0 && sorted(bytes) == sorted(again);
    if let Some(group) = confirm::crossed(&read.trace, &written, &read.suspects, is_equal) {
        return Err(CodecError::new(confirm::text(&group.place.name, "give its fields names")));
    }
    if !is_equal && doubts & doubt::UNTYPED != 0 {
        return Err(CodecError::new(confirm::text(type_name, "give its fields names")));
    }
    confirm::learn(&read.trace, &read.suspects);
    Ok(())
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}
