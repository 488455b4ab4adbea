//! Arguments of JSON, and JSON of results, for tasks that are called by their name. The macro picks a way for each type, as it
//! picks a codec: a type without serde's traits has no JSON form, and its task is refused when it is called.

mod deserializer;
mod error;
pub(crate) mod form;
mod key;
mod tree;

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use self::deserializer::Value;
pub use self::tree::Json;
use crate::codec::{CodecError, Probe};

/// A result as JSON.
#[derive(Debug)]
pub enum Answer {
    /// The value; for a function that returns a `Result`, the one within `Ok`.
    Value(String),
    /// The value within `Err`.
    Err(String),
    /// It has no JSON form, for this reason.
    Unwritable(String),
}

/// The values of `N` arguments. One is the value itself, several are an array, and none are `null` or an empty array.
///
/// # Errors
///
/// They are more, or fewer.
pub fn arguments<const N: usize>(json: &Json) -> Result<[&Json; N], CodecError> {
    // Before arrays: the only argument may be one.
    if N == 1 {
        return Ok([json; N]);
    }
    let values: Vec<&Json> = match json.elements() {
        Some(elements) => elements.collect(),
        None if N == 0 && matches!(json, Json::Null) => Vec::new(),
        None => {
            let text = format!("{N} arguments are an array of {N} values, and {} came", json.kind());
            return Err(CodecError::new(text));
        }
    };
    let came = values.len();
    values.try_into().map_err(|_| CodecError::new(format!("it takes {N} arguments, and {came} came")))
}

/// Reads a `T`, which may borrow from the JSON.
pub trait FromJson<'a, T> {
    /// Reads the argument of this name.
    fn read(&self, json: &'a Json, name: &str) -> Result<T, CodecError>;
}

/// Reads types with `Deserialize`.
#[derive(Clone, Copy, Debug)]
pub struct JsonReader;

/// Picks [`JsonReader`] where the type allows.
pub trait PickJson<'a> {
    /// The reader.
    fn __pick_json(&self) -> JsonReader {
        JsonReader
    }
}
impl<'a, T: Deserialize<'a>> PickJson<'a> for Probe<T> {}

impl<'a, T: Deserialize<'a>> FromJson<'a, T> for JsonReader {
    fn read(&self, json: &'a Json, name: &str) -> Result<T, CodecError> {
        T::deserialize(Value(json)).map_err(|error| CodecError::new(error.of_argument(name)))
    }
}

/// Refuses to read, for types without `Deserialize`.
#[derive(Clone, Copy, Debug)]
pub struct NoJsonReader;

/// Picks [`NoJsonReader`] last.
pub trait PickNoJson: Sized {
    /// The reader that refuses.
    fn __pick_json(self) -> NoJsonReader {
        NoJsonReader
    }
}
impl<T: ?Sized> PickNoJson for Probe<T> {}

impl<T> FromJson<'_, T> for NoJsonReader {
    fn read(&self, _: &Json, name: &str) -> Result<T, CodecError> {
        let ty = std::any::type_name::<T>();
        Err(CodecError::new(format!("argument `{name}` has no JSON form: `{ty}` has no `Deserialize`")))
    }
}

/// Writes a function's `Result`. Method look-up tries it first.
pub trait AnswerResult<T> {
    /// The result as JSON.
    fn __answer(&self, output: &T) -> Answer;
}
impl<T: Serialize, E: Serialize> AnswerResult<Result<T, E>> for &&Probe<Result<T, E>> {
    fn __answer(&self, output: &Result<T, E>) -> Answer {
        match output {
            Ok(value) => write(value, Answer::Value),
            Err(error) => write(error, Answer::Err),
        }
    }
}

/// Writes a `Result` with an error that serde does not know, such as `io::Error`: its text.
pub trait AnswerText<T> {
    /// The result as JSON.
    fn __answer(&self, output: &T) -> Answer;
}
impl<T: Serialize, E: Display> AnswerText<Result<T, E>> for &Probe<Result<T, E>> {
    fn __answer(&self, output: &Result<T, E>) -> Answer {
        match output {
            Ok(value) => write(value, Answer::Value),
            // With its sources, where its type can show them in a line.
            Err(error) => write(&format!("{error:#}"), Answer::Err),
        }
    }
}

/// Writes any other value with `Serialize`.
pub trait AnswerValue<T> {
    /// The result as JSON.
    fn __answer(&self, output: &T) -> Answer;
}
impl<T: Serialize> AnswerValue<T> for Probe<T> {
    fn __answer(&self, output: &T) -> Answer {
        write(output, Answer::Value)
    }
}

/// Refuses to write, for types without `Serialize`.
pub trait AnswerNone<T>: Sized {
    /// The reason.
    fn __answer(self, _: &T) -> Answer {
        Answer::Unwritable(format!("`{}` has no `Serialize`", std::any::type_name::<T>()))
    }
}
impl<T> AnswerNone<T> for Probe<T> {}

fn write(value: &(impl Serialize + ?Sized), answer: fn(String) -> Answer) -> Answer {
    // To text at once: a tree of all values would take many times its memory.
    match serde_json::to_string(value) {
        Ok(text) => answer(text),
        Err(error) => Answer::Unwritable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
