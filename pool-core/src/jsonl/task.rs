//! A task that can be called with JSON.

use crate::codec::CodecError;
use crate::codec::encoder::Encoder;
use crate::codec::json::form::JsonForm;
use crate::codec::json::{Answer, Json};
use crate::task::Task;

/// A task that can be called with JSON; the macro implements it.
pub trait JsonTask: Task {
    /// Encodes the arguments.
    fn encode_json(args: &Json, out: &mut Encoder<'_>) -> Result<(), CodecError>;

    /// The result as JSON.
    fn answer(output: &Self::Output) -> Answer;
}

impl JsonForm {
    /// The functions of `T`.
    pub const fn of<T: JsonTask>() -> JsonForm {
        JsonForm {
            encode: T::encode_json,
            args_size: T::args_size,
            answer: |input| T::decode_output(input).map(|output| T::answer(&output)),
            answer_raw: |bytes| T::decode_raw(bytes).map(|output| T::answer(&output)),
            output_size: T::output_size,
            output_bytes: size_of::<T::Output>(),
        }
    }
}
