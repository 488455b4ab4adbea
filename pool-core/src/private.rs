//! Not public API. Used by generated code.

pub use crate::codec::decoder::Decoder;
pub use crate::codec::encoder::Encoder;
pub use crate::codec::number_buffer::ResultBuffer;
pub use crate::codec::plain::Plain;
pub use crate::codec::{Blob, BlobCodec, NoCodec, PlainCodec, SerdeCodec};
#[cfg(feature = "cbor")]
pub use crate::codec::{CborCodec, PickCbor};
pub use crate::codec::{CodecError, Decode, Encode, Lent};
pub use crate::codec::{PickBlob, PickNone, PickPlain, PickSerde, Probe};
#[cfg(any(test, fuzzing))]
pub use crate::hostile;
pub use crate::task::TaskOptions;
pub use crate::task::table::{Entry, Info, TASKS};
pub use crate::worker::chunk::Chunk;
pub use crate::worker::run::run_chunk;
pub use linkme;
pub use serde;
pub use std::boxed::Box;
pub use std::vec::Vec;

/// The codecs of the types that can be arguments; what is not among them is refused in these words.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be an argument of a pool task",
    label = "cannot travel to a worker process",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it and for what it holds",
    note = "of the references inside of another type, only `&str` and `&[u8]` can be lent"
)]
pub trait Argument<T: ?Sized>: Encode<T> {}

/// The codecs of the types that can be results; what is not among them is refused in these words.
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

/// The check of an argument's type, and the bytes of every such argument if they are always as many.
#[inline]
pub fn argument_size<T: ?Sized>(codec: &dyn Argument<T>) -> Option<usize> {
    codec.size()
}

/// The check of the result's type, and the bytes of every result if they are always as many.
#[inline]
pub fn output_size<T>(codec: &dyn Outcome<T>) -> Option<usize> {
    codec.size()
}

/// Of a task whose arguments never travel whole.
///
/// # Errors
///
/// Always.
pub fn not_raw<T>(_: Vec<u8>) -> Result<T, CodecError> {
    Err(CodecError::new("these arguments do not travel as they are"))
}

/// The bytes of all arguments together.
#[inline]
pub fn total<const N: usize>(sizes: [Option<usize>; N]) -> Option<usize> {
    sizes.into_iter().sum()
}
