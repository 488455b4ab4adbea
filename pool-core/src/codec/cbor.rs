//! The format of `#[pool_task(codec = "cbor")]`: values that describe themselves.
//!
//! It is CBOR (RFC 8949) with the names of fields and variants as text. One thing is added: a `None` or `()` directly
//! within a `Some` has a tag in front, since both are CBOR's null. The format calls itself readable by humans, as the
//! buffer does in which serde keeps the content of untagged enums: both must choose the same form of an `IpAddr`.
//!
//! It is written here, because the crates that were
//! tried bring back other values than were sent: ciborium makes `None` of `Some(None)` and of `Some(())`, cbor4ii and
//! minicbor-serde of `Some(None)`, and the latter two make an empty sequence of `serde_json::Value::Null`.

mod deserializer;
mod serializer;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::deserializer::Deserializer;
use self::serializer::Serializer;
use crate::codec::CodecError;
use crate::codec::bounded::{self, Limits, WriteLimits};
use crate::codec::encoder::Encoder;

/// The bytes that items begin with.
mod head {
    /// The kind stands in the three high bits of the first byte.
    pub(super) const MAJOR_SHIFT: u8 = 5;
    pub(super) const INFO_MASK: u8 = 0x1f;

    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;

    /// The low bits of the first byte: the number follows in so many bytes.
    pub(super) const ONE_BYTE: u8 = 24;
    pub(super) const TWO_BYTES: u8 = 25;
    pub(super) const FOUR_BYTES: u8 = 26;
    pub(super) const EIGHT_BYTES: u8 = 27;
    pub(super) const INDEFINITE: u8 = 31;

    pub(super) const FALSE: u8 = 0xf4;
    pub(super) const TRUE: u8 = 0xf5;
    pub(super) const NULL: u8 = 0xf6;
    pub(super) const F32: u8 = 0xfa;
    pub(super) const F64: u8 = 0xfb;
    pub(super) const BREAK: u8 = 0xff;

    pub(super) const POSITIVE_TAG: u64 = 2;
    pub(super) const NEGATIVE_TAG: u64 = 3;
    /// Of those that are for everybody's use: these bytes leave no program.
    pub(super) const SOME_TAG: u64 = 0xff_ff00;
}

/// Appends a value.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    let limits = WriteLimits::new();
    bounded::put(value, &mut Serializer::new(out, &limits), &limits)
}

/// Takes a value off the front of the bytes; what is left of them.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    bounded::check_stack::<T>()?;
    read_checked(bytes)
}

fn read_checked<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let limits = Limits::new(bytes.len());
    let mut deserializer = Deserializer::new(bytes, &limits);
    let value = T::deserialize(&mut deserializer);
    limits.check(value.map_err(|fault| CodecError::new(fault.to_string()))).map(|value| (value, deserializer.rest))
}
