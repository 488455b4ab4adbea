//! The error of a value that does not fit its type: the type's words, and the way to the value.

use std::fmt;

/// A value does not fit. Boxed, so that the results of generated code stay small.
#[derive(Debug)]
pub(super) struct JsonError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    /// From the argument to the value, such as `.points[3].x`.
    path: String,
}

impl JsonError {
    /// Adds a step in front of the way, since errors pass through the structs from the inside out.
    #[cold]
    pub(super) fn below(mut self, step: impl fmt::Display) -> Self {
        // At the front: the innermost step was added first.
        self.0.path.insert_str(0, &step.to_string());
        self
    }

    /// The error in words, for the argument of this name.
    #[cold]
    pub(super) fn of_argument(self, name: &str) -> String {
        let Inner { text, path } = *self.0;
        format!("argument `{name}{path}`: {text}")
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for JsonError {}

impl serde::de::Error for JsonError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        JsonError(Box::new(Inner { text: message.to_string(), path: String::new() }))
    }

    #[cold]
    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        use serde::de::Unexpected;
        // In the words of JSON.
        let found = if found == Unexpected::Unit { Unexpected::Other("null") } else { found };
        let advice = match found {
            // Other programs write `1.0` and `1e3`; JavaScript does from 1e21 on.
            Unexpected::Float(value) if value.fract() == 0.0 => "; write a whole number without point and exponent",
            _ => "",
        };
        JsonError::custom(format_args!("invalid type: {found}, expected {expected}{advice}"))
    }
}
