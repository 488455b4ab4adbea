//! The error of encoding and decoding: the type's own words, and the field in which it happened.

use std::fmt;

/// A value could not be encoded or decoded. One pointer, so that the results of hot functions stay small, and one type
/// for both formats and the tasks, so that a result is passed on without being moved.
pub struct CodecError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    cause: Cause,
    /// The innermost struct, and the field of it that was being written or read.
    place: Option<(&'static str, String)>,
}

/// The party that found the fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// The type itself, through `custom`.
    Type,
    /// The bytes do not fit the type.
    Bytes,
    /// The format cannot express the type.
    Format,
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CodecError {
    /// An error that needs no advice.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(text: impl Into<String>) -> Self {
        CodecError::of(Cause::Type, text)
    }

    #[cold]
    pub(crate) fn of(cause: Cause, text: impl Into<String>) -> Self {
        CodecError(Box::new(Inner { text: text.into(), cause, place: None }))
    }

    /// The bytes of the value end too soon.
    #[cold]
    pub(crate) fn truncated(wanted: usize, left: usize) -> Self {
        CodecError::of(Cause::Bytes, format!("{wanted} more bytes expected and {left} left"))
    }

    /// Adds the field, unless a field within it is known.
    #[cold]
    pub(crate) fn within(mut self, name: &'static str, field: impl fmt::Display) -> Self {
        // Errors pass through the structs from the inside out, so the first place is the most precise one.
        self.0.place.get_or_insert_with(|| (name, field.to_string()));
        self
    }

    /// As [`within`](CodecError::within). The arguments are values, since a reference to a struct for the sake of an error
    /// would keep the struct in memory instead of registers.
    #[cold]
    #[inline(never)]
    pub(crate) fn within_named(self, name: &'static str, field: &'static str) -> Self {
        self.within(name, field)
    }

    /// As [`within_named`](CodecError::within_named), for a field that has no name.
    #[cold]
    #[inline(never)]
    pub(crate) fn within_numbered(self, name: &'static str, field: usize) -> Self {
        self.within(name, field)
    }

    /// As [`within_named`](CodecError::within_named), for the last of the fields that have been read.
    #[cold]
    #[inline(never)]
    pub(crate) fn within_last(self, name: &'static str, fields: &'static [&'static str], read: usize) -> Self {
        self.within(name, fields.get(read.saturating_sub(1)).copied().unwrap_or(""))
    }

    /// The party that found the fault. An error with advice counts as the type's own.
    pub(crate) fn cause(&self) -> Cause {
        self.0.cause
    }

    /// True if it says where it happened.
    pub(crate) fn has_place(&self) -> bool {
        self.0.place.is_some()
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Some((name, field)) if field.is_empty() => write!(f, "`{name}`: {}", self.0.text),
            Some((name, field)) => write!(f, "field `{field}` of `{name}`: {}", self.0.text),
            None => f.write_str(&self.0.text),
        }
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        CodecError::of(Cause::Type, message.to_string())
    }
}

impl serde::de::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        CodecError::of(Cause::Type, message.to_string())
    }

    // These three are faults of the bytes, not of the type, so that they get the advice about fields that are skipped.
    #[cold]
    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        CodecError::of(Cause::Bytes, format!("{found} where {expected} is expected"))
    }

    #[cold]
    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        CodecError::of(Cause::Bytes, format!("{found} where {expected} is expected"))
    }

    #[cold]
    fn invalid_length(found: usize, expected: &dyn serde::de::Expected) -> Self {
        CodecError::of(Cause::Bytes, format!("{found} elements where {expected} is expected"))
    }
}
