//! Not public API. Used by generated code.

#[cfg(feature = "arrays")]
pub use crate::arrays::window::ChunkItem;
#[cfg(feature = "arrays")]
pub use crate::chunk_task::Part;
pub use crate::codec::decoder::Decoder;
pub use crate::codec::encoder::Encoder;
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
pub use crate::priority::Priority;
pub use crate::task::TaskOptions;
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

/// The codecs of the types that can be arguments. The compiler refuses any other type with this message.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be an argument of a pool task",
    label = "cannot travel to a worker process",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it and for what it holds",
    note = "of the references inside of another type, only `&str` and `&[u8]` can be lent"
)]
pub trait Argument<T: ?Sized>: Encode<T> {}

/// The codecs of the types that can be results. The compiler refuses any other type with this message.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be the result of a pool task",
    label = "cannot travel back from a worker process",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it and for what it holds",
    note = "errors such as `std::io::Error` and `anyhow::Error` have no such traits: return an error type of your own, \
            or their text, as in `.map_err(|error| error.to_string())`"
)]
pub trait Outcome<T>: Encode<T> {}

macro_rules! codecs {
    ($($codec:ident),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: ?Sized> Argument<T> for $codec where $codec: Encode<T> {}
        #[diagnostic::do_not_recommend]
        impl<T> Outcome<T> for $codec where $codec: Encode<T> {}
    )*};
}
codecs!(PlainCodec, BlobCodec, SerdeCodec);
#[cfg(feature = "cbor")]
codecs!(CborCodec);

/// Checks an argument's type. Returns the encoded size of every value of it, if all have the same size.
#[inline]
pub fn argument_size<T: ?Sized>(codec: &dyn Argument<T>) -> Option<usize> {
    codec.size()
}

/// Checks the result's type. Returns the encoded size of every value of it, if all have the same size.
#[inline]
pub fn output_size<T>(codec: &dyn Outcome<T>) -> Option<usize> {
    codec.size()
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
