//! Advice in errors about a type that this format cannot carry.

use crate::codec::error::{Cause, CodecError};

/// The advice for a type that this format cannot carry.
pub(super) const REMEDY: &str = "annotate the task with `#[pool_task(codec = \"cbor\")]`";

/// The advice for a type of which a field is taken for another.
pub(super) const CROSSED_REMEDY: &str =
    "give its fields names and annotate the task with `#[pool_task(codec = \"cbor\")]`, where fields are told by name";

/// Adds advice to the error.
#[cold]
pub(super) fn advice(error: CodecError, type_name: &str) -> CodecError {
    match error.cause() {
        // An error about bytes is the first sign of two sides that disagree: the next value was taken for a field.
        Cause::Bytes => CodecError::new(format!(
            "{error}; unless something has overwritten these bytes, a type among them writes other fields than it reads \
             (serde's `skip_serializing`, `skip_serializing_if` or `skip_deserializing`, or an implementation by hand): \
             {REMEDY}, or make both sides agree"
        )),
        Cause::Format if !error.has_place() => CodecError::new(format!("`{type_name}`: {error}")),
        Cause::Type | Cause::Format => error,
    }
}
