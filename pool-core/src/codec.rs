//! Values to bytes and back. There are three ways, and the macro picks the fastest that a type allows, argument by argument:
//!
//! | way | for | bytes |
//! |---|---|---|
//! | plain | numbers, `bool`, `char`, `()`, arrays and tuples of these | as they are, little end first, fixed size |
//! | blob | `Vec` and slice of plain values, `String`, `&str`, `&Path` | `u64` length in bytes, then the bytes |
//! | serde | everything else that serde knows | the default format, see [`compact`], or with `codec = "cbor"` CBOR |
//!
//! The choice is made by autoref specialization on the concrete type: method look-up tries [`Probe`] behind three, two
//! and one references, then none, and the first that has a `__pick` wins (David Tolnay, "Autoref-based stable
//! specialization"). A type that is none of these gets [`NoCodec`], so that the macro's one check can say so in our
//! words.

pub(crate) mod bytes;
#[cfg(feature = "cbor")]
pub(crate) mod cbor;
pub(crate) mod check;
pub(crate) mod compact;
mod confirm;
pub(crate) mod decoder;
pub(crate) mod encoder;
mod error;
pub(crate) mod foreign;
#[cfg(feature = "remote")]
pub(crate) mod frames;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod large_vec;
pub(crate) mod lent;
pub(crate) mod limits;
mod naming;
pub(crate) mod number;
pub(crate) mod number_buffer;
pub(crate) mod plain;
mod trace;
pub(crate) mod type_identity;

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
pub use crate::codec::error::CodecError;
use crate::codec::number_buffer::ResultBuffer;
use crate::codec::plain::{Plain, stride};

/// Writes a `T`.
pub trait Encode<T: ?Sized> {
    /// The bytes of every `T`, if they are always as many.
    fn size(&self) -> Option<usize>;
    /// Appends the value.
    fn encode(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError>;

    /// The value's own memory, if it is bytes or text of a length that pays (`RAW_BYTES`): then nothing has to be encoded.
    ///
    /// # Errors
    ///
    /// The value, unless it is such.
    #[inline]
    fn give_away(&self, value: T) -> Result<Vec<u8>, T>
    where
        T: Sized,
    {
        Err(value)
    }
}

/// Bytes of a value for which its memory is kept and sent as it is. A shorter one is copied to where it travels beside
/// others, which costs less than the handling.
/// A longer one than that is refused when it is encoded.
pub(crate) const RAW_BYTES: std::ops::RangeInclusive<usize> = 32 << 10..=u32::MAX as usize;

/// Reads a `T`, which may borrow from the bytes.
pub trait Decode<'a, T> {
    /// Takes the value off the front.
    fn decode(&self, input: &mut Decoder<'a>) -> Result<T, CodecError>;

    /// Makes a value of the bytes that [`Encode::give_away`] gave.
    ///
    /// # Errors
    ///
    /// Bytes that are no such value.
    #[inline]
    fn adopt(&self, _bytes: Vec<u8>) -> Result<T, CodecError> {
        Err(CodecError::new("a value of this type does not travel as it is"))
    }

    /// A place for about so many values, if they need not be looked at.
    fn result_buffer(&self, _items: usize) -> Option<Box<dyn ResultBuffer>> {
        None
    }

    /// Appends all the values that stand one behind the other. False, and nothing is appended, if they have to be looked
    /// at one by one. Such values borrow nothing.
    #[inline]
    fn decode_all(&self, _bytes: &[u8], _values: &mut Vec<T>) -> bool {
        false
    }
}

/// A length and plain bytes: vectors of plain values, strings, and the slices and text lent from them.
pub trait Blob {}
impl<T: Plain> Blob for Vec<T> {}
impl Blob for String {}
impl Blob for &str {}
impl Blob for &[u8] {}
impl Blob for &Path {}
impl Blob for PathBuf {}

/// Stands for a type while a codec is picked for it.
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<fn(&T)>);

// Copied where `PickNone` is reached through references.
impl<T: ?Sized> Clone for Probe<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Probe<T> {}

impl<T: ?Sized> Probe<T> {
    /// A probe for `T`.
    #[expect(clippy::new_without_default, reason = "made by generated code only")]
    pub fn new() -> Self {
        Probe(PhantomData)
    }
}

impl<T, E> Probe<Result<T, E>> {
    /// Whether the value is an `Err`. Found before [`NeverErr`], since method look-up prefers methods of the type itself.
    #[inline]
    pub fn __is_err(self, value: &Result<T, E>) -> bool {
        value.is_err()
    }
}

/// For values that are no `Result`.
pub trait NeverErr<T: ?Sized>: Sized {
    /// Never.
    #[inline]
    fn __is_err(self, _: &T) -> bool {
        false
    }
}
impl<T: ?Sized> NeverErr<T> for Probe<T> {}

macro_rules! pickers {
    ($($picker:ident gives $codec:ident;)*) => {$(
        /// The codec of this rank.
        #[derive(Clone, Copy, Debug)]
        pub struct $codec;
        impl check::Codec for $codec {}
        /// Picks it where the type allows, under a name that no trait of the user has; the lifetime is that of the
        /// bytes, for types that borrow.
        pub trait $picker<'a> {
            /// The codec.
            #[inline]
            fn __pick(&self) -> $codec {
                $codec
            }
        }
    )*};
}
pickers! {
    PickPlain gives PlainCodec;
    PickBlob gives BlobCodec;
    PickSerde gives SerdeCodec;
}
// One reference less each: method look-up on `&&&Probe` tries the plain codec first, and takes a reference off for each
// rank that does not fit.
impl<T: Plain> PickPlain<'_> for &&Probe<T> {}
impl<T: Blob> PickBlob<'_> for &Probe<T> {}
impl<'a, T: Serialize + Deserialize<'a>> PickSerde<'a> for Probe<T> {}

#[cfg(feature = "cbor")]
pickers! {
    PickCbor gives CborCodec;
}
#[cfg(feature = "cbor")]
impl<'a, T: Serialize + Deserialize<'a>> PickCbor<'a> for Probe<T> {}

/// Stands for the codec of a type that has none; the macro's check refuses it, so no value ever gets here.
#[derive(Clone, Copy, Debug)]
pub struct NoCodec;

/// Picks [`NoCodec`] last: by value, which method look-up tries after every reference.
pub trait PickNone: Sized {
    /// No codec.
    fn __pick(self) -> NoCodec {
        NoCodec
    }
}
impl<T: ?Sized> PickNone for Probe<T> {}

impl<T: Plain> Encode<T> for PlainCodec {
    #[inline]
    fn size(&self) -> Option<usize> {
        Some(T::SIZE)
    }
    // In place, without a buffer between: for numbers this is one store.
    #[inline]
    fn encode(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        value.to_bytes(out.room(T::SIZE));
        Ok(())
    }
}

impl<'a, T: Plain> Decode<'a, T> for PlainCodec {
    #[inline]
    fn decode(&self, input: &mut Decoder<'a>) -> Result<T, CodecError> {
        T::from_bytes(input.take(T::SIZE)?)
            .ok_or_else(|| CodecError::new(format!("bytes that are no `{}`", std::any::type_name::<T>())))
    }
    #[inline]
    fn decode_all(&self, bytes: &[u8], values: &mut Vec<T>) -> bool {
        // Bytes cannot tell how many values of no size there are.
        T::SIZE > 0 && T::append_from_bytes(bytes, values)
    }
    fn result_buffer(&self, items: usize) -> Option<Box<dyn ResultBuffer>> {
        T::result_buffer(items)
    }
}

fn put_length(bytes: usize, out: &mut Encoder<'_>) {
    out.put(&(bytes as u64).to_le_bytes());
}

pub(crate) fn take_blob<'a>(input: &mut Decoder<'a>) -> Result<&'a [u8], CodecError> {
    let length: u64 = PlainCodec.decode(input)?;
    // A length past the address space is past the end of the bytes, too, and is refused there.
    input.take(usize::try_from(length).unwrap_or(usize::MAX))
}

fn take_text<'a>(input: &mut Decoder<'a>) -> Result<&'a str, CodecError> {
    // Checked, though a caller sends only text: the bytes may come from a worker that overwrote its memory.
    std::str::from_utf8(take_blob(input)?).map_err(|error| CodecError::new(error.to_string()))
}

impl<T: Plain> Encode<Vec<T>> for BlobCodec {
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &Vec<T>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        self.encode(value.as_slice(), out)
    }
    fn give_away(&self, value: Vec<T>) -> Result<Vec<u8>, Vec<T>> {
        // The elements count as bytes, since a vector is given away only where these are the same.
        if RAW_BYTES.contains(&value.len()) { T::vec_into_bytes(value) } else { Err(value) }
    }
}

impl<T: Plain> Encode<[T]> for BlobCodec {
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &[T], out: &mut Encoder<'_>) -> Result<(), CodecError> {
        // Before there is memory for it: a slice of `()` may be as long as an address space and takes none.
        crate::codec::limits::write::check_sequence(value.len(), T::SIZE)?;
        put_length(value.len() * stride::<T>(), out);
        T::append(value, out);
        Ok(())
    }
}

impl<'a, T: Plain> Decode<'a, Vec<T>> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<Vec<T>, CodecError> {
        let bytes = take_blob(input)?;
        let mut values = Vec::new();
        if T::append_from_bytes(bytes, &mut values) {
            return Ok(values);
        }
        Err(CodecError::new(format!("bytes that are no vector of `{}`", std::any::type_name::<T>())))
    }
    fn adopt(&self, bytes: Vec<u8>) -> Result<Vec<T>, CodecError> {
        T::vec_from_bytes(bytes).ok_or_else(|| CodecError::new("a vector of these does not travel as it is"))
    }
}

macro_rules! encode_blob_of_bytes {
    ($($type:ty, $as_bytes:expr;)*) => {$(
        impl Encode<$type> for BlobCodec {
            fn size(&self) -> Option<usize> {
                None
            }
            fn encode(&self, value: &$type, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                let bytes: &[u8] = $as_bytes(value);
                put_length(bytes.len(), out);
                out.put(bytes);
                Ok(())
            }
        }
    )*};
}
impl Encode<String> for BlobCodec {
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &String, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        self.encode(value.as_str(), out)
    }
    fn give_away(&self, value: String) -> Result<Vec<u8>, String> {
        if RAW_BYTES.contains(&value.len()) { Ok(value.into_bytes()) } else { Err(value) }
    }
}

encode_blob_of_bytes! {
    str, str::as_bytes;
    &str, lent_text;
    &[u8], lent_bytes;
    Path, path_bytes;
    &Path, lent_path;
    PathBuf, path_bytes;
}

// These three are functions, since a closure's result would not take the lifetime of its argument.
fn lent_text<'v>(text: &'v &str) -> &'v [u8] {
    text.as_bytes()
}

fn lent_bytes<'v>(bytes: &'v &[u8]) -> &'v [u8] {
    bytes
}

fn lent_path<'v>(path: &'v &Path) -> &'v [u8] {
    path_bytes(path)
}

/// Paths are whatever bytes the system has; serde would refuse those that are not UTF-8.
fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

impl<'a> Decode<'a, &'a Path> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<&'a Path, CodecError> {
        take_blob(input).map(|bytes| Path::new(OsStr::from_bytes(bytes)))
    }
}

impl<'a> Decode<'a, PathBuf> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<PathBuf, CodecError> {
        let path: &Path = self.decode(input)?;
        Ok(path.to_owned())
    }
}

impl<'a> Decode<'a, String> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<String, CodecError> {
        take_text(input).map(str::to_owned)
    }
    fn adopt(&self, bytes: Vec<u8>) -> Result<String, CodecError> {
        String::from_utf8(bytes).map_err(|error| CodecError::new(error.to_string()))
    }
}

impl<'a> Decode<'a, &'a str> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<&'a str, CodecError> {
        take_text(input)
    }
}

impl<'a> Decode<'a, &'a [u8]> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<&'a [u8], CodecError> {
        take_blob(input)
    }
}

impl<T: Serialize + ?Sized> Encode<T> for SerdeCodec {
    #[inline]
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        compact::write(value, out)
    }
}

impl<'a, T: Serialize + Deserialize<'a>> Decode<'a, T> for SerdeCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<T, CodecError> {
        compact::read(&mut input.rest)
    }
}

#[cfg(feature = "cbor")]
impl<T: Serialize + ?Sized> Encode<T> for CborCodec {
    #[inline]
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        cbor::write(value, out)
    }
}

#[cfg(feature = "cbor")]
impl<'a, T: Serialize + Deserialize<'a>> Decode<'a, T> for CborCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<T, CodecError> {
        // On an error the input stays in front of the value.
        let (value, rest) = cbor::read(input.rest)?;
        input.rest = rest;
        Ok(value)
    }
}

impl<T: ?Sized> Encode<T> for NoCodec {
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, _: &T, _: &mut Encoder<'_>) -> Result<(), CodecError> {
        Err(no_codec::<T>())
    }
}

impl<'a, T> Decode<'a, T> for NoCodec {
    fn decode(&self, _: &mut Decoder<'a>) -> Result<T, CodecError> {
        Err(no_codec::<T>())
    }
}

fn no_codec<T: ?Sized>() -> CodecError {
    CodecError::new(format!("`{}` cannot be encoded", std::any::type_name::<T>()))
}
