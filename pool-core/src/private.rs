//! Not public API. Used by generated code.

#[cfg(feature = "arrays")]
pub use crate::arrays::window::ChunkItem;
pub use crate::caller::initializer::with_sources;
#[cfg(feature = "arrays")]
pub use crate::chunk_task::Part;
pub use crate::codec::check::*;
pub use crate::codec::decoder::Decoder;
pub use crate::codec::encoder::Encoder;
pub use crate::codec::foreign::*;
#[cfg(feature = "json")]
pub use crate::codec::json::form::JsonForm;
#[cfg(feature = "json")]
pub use crate::codec::json::{
    Answer, AnswerNone, AnswerResult, AnswerText, AnswerValue, FromJson, Json, JsonReader, NoJsonReader, PickJson,
    PickNoJson, arguments,
};
pub use crate::codec::lent::{Lent, Slice};
pub use crate::codec::number_buffer::ResultBuffer;
pub use crate::codec::plain::Plain;
pub use crate::codec::{Blob, BlobCodec, NoCodec, PlainCodec, SerdeCodec};
#[cfg(feature = "cbor")]
pub use crate::codec::{CborCodec, PickCbor};
pub use crate::codec::{CodecError, Decode, Encode};
pub use crate::codec::{NeverErr, PickBlob, PickNone, PickPlain, PickSerde, Probe};
#[cfg(any(test, fuzzing))]
pub use crate::hostile;
#[cfg(feature = "json")]
pub use crate::jsonl::task::JsonTask;
pub use crate::priority::Priority;
pub use crate::task::TaskOptions;
#[cfg(feature = "remote")]
pub use crate::task::form::Form;
pub use crate::task::state::open_state;
pub use crate::task::state_type::StateType;
pub use crate::task::table::{Entry, Info, TASKS};
pub use crate::worker::chunk::Chunk;
pub use crate::worker::run::run_chunk;
pub use crate::worker::states::{with_state, with_state_mut};
pub use linkme;
pub use serde;
pub use std::boxed::Box;
pub use std::vec::Vec;

/// Arguments in which a lifetime may be hidden. The type is `fn(&()) -> Arguments`, so the compiler itself gives its elided lifetimes
/// the name `'a`.
pub trait Elide<'a> {
    /// The arguments for that lifetime.
    type Args;
}

// All elided lifetimes of a function's result are that of its only argument.
impl<'a, F: FnOnce(&'a ()) -> R, R> Elide<'a> for F {
    type Args = R;
}

/// A result that may hide a lifetime. `F` is `fn() -> Result`.
pub type Returned<F> = <F as Return>::Output;

/// See [`Returned`].
pub trait Return {
    /// The result.
    type Output;
}

impl<R> Return for fn() -> R {
    type Output = R;
}

/// The decoder of raw arguments for a task that has none: its arguments never travel as their own memory.
///
/// # Errors
///
/// Always.
pub fn not_raw<T>(_: Vec<u8>) -> Result<T, CodecError> {
    Err(CodecError::new("these arguments do not travel as they are"))
}

/// The encoded size of all arguments together, if each has a fixed size.
#[inline]
pub fn total<const N: usize>(sizes: [Option<usize>; N]) -> Option<usize> {
    sizes.into_iter().sum()
}
