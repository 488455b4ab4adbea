//! Why serde could not write or read a value: the type's own words, and the field in which it happened.

use std::fmt;

/// The error of both formats. One pointer, so that the results of hot functions stay small.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    cause: Cause,
    /// The innermost struct, and the field of it that was being written or read.
    place: Option<(&'static str, String)>,
}

/// Who found the fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// The type itself, through `custom`.
    Type,
    /// The bytes are not what the type expects.
    Bytes,
    /// The format cannot express what the type asks for.
    Format,
}

impl Fault {
    #[cold]
    pub(crate) fn new(cause: Cause, text: impl Into<String>) -> Self {
        Fault(Box::new(Inner { text: text.into(), cause, place: None }))
    }

    /// The bytes of the value end too soon.
    #[cold]
    pub(crate) fn truncated(wanted: usize, left: usize) -> Self {
        Fault::new(Cause::Bytes, format!("{wanted} more bytes expected and {left} left"))
    }

    /// Adds the field, unless a field within it is known.
    #[cold]
    pub(crate) fn within(mut self, name: &'static str, field: impl fmt::Display) -> Self {
        self.0.place.get_or_insert_with(|| (name, field.to_string()));
        self
    }

    /// True if it says where it happened.
    pub(crate) fn has_place(&self) -> bool {
        self.0.place.is_some()
    }

    pub(crate) fn cause(&self) -> Cause {
        self.0.cause
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Some((name, field)) if field.is_empty() => write!(f, "`{name}`: {}", self.0.text),
            Some((name, field)) => write!(f, "field `{field}` of `{name}`: {}", self.0.text),
            None => f.write_str(&self.0.text),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(Cause::Type, message.to_string())
    }
}

impl serde::de::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(Cause::Type, message.to_string())
    }

    #[cold]
    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Fault::new(Cause::Bytes, format!("{found} where {expected} is expected"))
    }

    #[cold]
    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Fault::new(Cause::Bytes, format!("{found} where {expected} is expected"))
    }

    #[cold]
    fn invalid_length(found: usize, expected: &dyn serde::de::Expected) -> Self {
        Fault::new(Cause::Bytes, format!("{found} elements where {expected} is expected"))
    }
}
