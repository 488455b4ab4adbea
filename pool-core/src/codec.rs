//! Values to bytes and back. Three ways, and the macro picks the fastest that a type allows, argument by argument:
//!
//! | way | for | bytes |
//! |---|---|---|
//! | plain | numbers, `bool`, `char`, `()`, arrays and tuples of these | as they are, little end first, fixed size |
//! | lump | `Vec` and slice of plain values, `String`, `&str` | `u64` length in bytes, then the bytes |
//! | serde | everything else that serde knows | postcard |
//!
//! The choice is made by autoref specialization on the concrete type: method look-up tries [`Probe`] behind three, two and one
//! references, then none, and the first that has a `__pick` wins (David Tolnay, "Autoref-based stable specialization").
//! A type that is none of these gets [`NoCodec`], so that the macro's one check can say so in our words.

use std::borrow::Borrow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a value could not be encoded or decoded.
#[derive(Debug)]
pub struct CodecError(String);

impl CodecError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        CodecError(message.into())
    }

    #[cold]
    fn truncated(wanted: usize, left: usize) -> Self {
        CodecError(format!("{wanted} more bytes expected and {left} left"))
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

/// Writes into memory that exists already; what does not fit moves to a vector, all of it.
#[derive(Debug)]
pub struct Encoder<'b> {
    fixed: &'b mut [u8],
    at: usize,
    spill: Vec<u8>,
    spilled: bool,
}

impl<'b> Encoder<'b> {
    /// Writes to `fixed` as long as all fits.
    pub fn new(fixed: &'b mut [u8]) -> Self {
        Encoder { fixed, at: 0, spill: Vec::new(), spilled: false }
    }

    /// Writes to a vector only.
    pub fn to_vec(spill: Vec<u8>) -> Encoder<'static> {
        Encoder { fixed: &mut [], at: 0, spill, spilled: true }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        if self.spilled { self.spill.len() } else { self.at }
    }

    /// The bytes as a vector if they did not fit (or were never meant to), else how many stand in the memory given.
    pub fn finish(self) -> Result<usize, Vec<u8>> {
        if self.spilled { Err(self.spill) } else { Ok(self.at) }
    }

    /// Room for `n` bytes, to be written by the caller.
    #[inline]
    fn room(&mut self, n: usize) -> &mut [u8] {
        if !self.spilled && n <= self.fixed.len() - self.at {
            let start = self.at;
            self.at += n;
            return &mut self.fixed[start..start + n];
        }
        self.room_in_spill(n)
    }

    fn room_in_spill(&mut self, n: usize) -> &mut [u8] {
        if !self.spilled {
            self.spilled = true;
            self.spill.reserve(self.at + n);
            self.spill.extend_from_slice(&self.fixed[..self.at]);
        }
        let start = self.spill.len();
        self.spill.resize(start + n, 0);
        &mut self.spill[start..]
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.spilled {
            self.spill.extend_from_slice(bytes);
        } else {
            self.room(bytes.len()).copy_from_slice(bytes);
        }
    }

    /// Writes what `body` writes behind its length (`u32`), so that a reader can skip or check it.
    #[inline]
    pub(crate) fn framed(&mut self, body: impl FnOnce(&mut Self) -> Result<(), CodecError>) -> Result<(), CodecError> {
        let start = self.len();
        self.put(&[0; FRAME]);
        body(self)?;
        let length = self.len() - start - FRAME;
        let length = u32::try_from(length).map_err(|_| {
            CodecError(format!("a value of {length} bytes is longer than the limit of {} bytes", u32::MAX))
        })?;
        let bytes = if self.spilled { &mut self.spill[..] } else { &mut *self.fixed };
        bytes[start..start + FRAME].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

/// Bytes of the length before a value of no fixed size.
pub(crate) const FRAME: usize = size_of::<u32>();

impl postcard::ser_flavors::Flavor for &mut Encoder<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.put(&[byte]);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.put(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads values from bytes, lending them where a type can borrow.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads `bytes` from their start.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Decoder { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        match self.rest.split_at_checked(n) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(CodecError::truncated(n, self.rest.len())),
        }
    }

    /// The next value written with [`Encoder::framed`] (`size` is `None`) or of a fixed size.
    #[inline]
    pub(crate) fn item(&mut self, size: Option<usize>) -> Result<Decoder<'a>, CodecError> {
        let n = match size {
            Some(n) => n,
            None => u32::from_bytes(self.take(FRAME)?).unwrap_or_default() as usize,
        };
        self.take(n).map(Decoder::new)
    }

    /// Everything has been read, or the value was not of the type expected.
    #[inline]
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(CodecError(format!("{} bytes left over after the value", self.rest.len())))
    }
}

/// Writes a `T`.
pub trait Encode<T: ?Sized> {
    /// The bytes of every `T`, if they are always as many.
    fn size(&self) -> Option<usize>;
    /// Appends the value.
    fn encode(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError>;
}

/// Reads a `T`, which may borrow from the bytes.
pub trait Decode<'a, T> {
    /// Takes the value off the front.
    fn decode(&self, input: &mut Decoder<'a>) -> Result<T, CodecError>;
}

/// A value whose bytes are itself: a fixed size, no padding, no pointer.
pub trait Plain: Sized {
    /// Its size in bytes.
    const SIZE: usize;
    /// Writes exactly `SIZE` bytes.
    fn to_bytes(&self, bytes: &mut [u8]);
    /// Reads exactly `SIZE` bytes; `None` if they are no such value.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! plain_numbers {
    ($($number:ty),*) => {$(
        impl Plain for $number {
            const SIZE: usize = size_of::<$number>();
            #[inline]
            fn to_bytes(&self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            #[inline]
            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(<$number>::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}
plain_numbers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

impl Plain for bool {
    const SIZE: usize = 1;
    #[inline]
    fn to_bytes(&self, bytes: &mut [u8]) {
        u8::from(*self).to_bytes(bytes);
    }
    #[inline]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Plain for char {
    const SIZE: usize = u32::SIZE;
    #[inline]
    fn to_bytes(&self, bytes: &mut [u8]) {
        u32::from(*self).to_bytes(bytes);
    }
    #[inline]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        u32::from_bytes(bytes).and_then(char::from_u32)
    }
}

impl<T: Plain, const N: usize> Plain for [T; N] {
    const SIZE: usize = T::SIZE * N;
    #[inline]
    fn to_bytes(&self, bytes: &mut [u8]) {
        if T::SIZE > 0 {
            values_to_bytes(self, bytes);
        }
    }
    #[inline]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let mut valid = true;
        let values = std::array::from_fn(|i| {
            let value = T::from_bytes(&bytes[i * T::SIZE..(i + 1) * T::SIZE]);
            valid &= value.is_some();
            value
        });
        valid.then(|| values.map(|value| value.expect("each was checked")))
    }
}

macro_rules! plain_tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Plain),*> Plain for ($($name,)*) {
            const SIZE: usize = 0 $(+ $name::SIZE)*;
            #[inline]
            #[allow(non_snake_case, unused_variables, unused_assignments, unused_mut)]
            fn to_bytes(&self, bytes: &mut [u8]) {
                let ($($name,)*) = self;
                let mut at = 0;
                $( $name.to_bytes(&mut bytes[at..at + $name::SIZE]); at += $name::SIZE; )*
            }
            #[inline]
            #[allow(non_snake_case, unused_variables, unused_assignments, unused_mut)]
            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let mut at = 0;
                $( let $name = $name::from_bytes(bytes.get(at..at + $name::SIZE)?)?; at += $name::SIZE; )*
                Some(($($name,)*))
            }
        }
    )*};
}
plain_tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

#[inline]
fn values_to_bytes<T: Plain>(values: &[T], bytes: &mut [u8]) {
    for (value, bytes) in values.iter().zip(bytes.chunks_exact_mut(stride::<T>())) {
        value.to_bytes(&mut bytes[..T::SIZE]);
    }
}

/// What the worker holds while it lends a `&Self` to a function: the bytes in place for text, else an owned value.
pub trait Lent {
    /// What is decoded.
    type Held<'a>: Borrow<Self>;
}

impl<T> Lent for T {
    type Held<'a> = T;
}

// `&[u8]`, which could be lent in place, is for the macro to see: here it would overlap.
impl<T> Lent for [T] {
    type Held<'a> = Vec<T>;
}

macro_rules! lent {
    ($($type:ty as $held:ty;)*) => {$(
        impl Lent for $type {
            type Held<'a> = $held;
        }
    )*};
}
lent! {
    str as &'a str;
    Path as &'a Path;
    OsStr as OsString;
    CStr as CString;
}

/// A length and plain bytes: vectors of plain values, strings, and what can be lent of them.
pub trait Lump {}
impl<T: Plain> Lump for Vec<T> {}
impl Lump for String {}
impl Lump for &str {}
impl Lump for &[u8] {}

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

macro_rules! pickers {
    ($($picker:ident gives $codec:ident;)*) => {$(
        /// The codec of this rank.
        #[derive(Clone, Copy, Debug)]
        pub struct $codec;
        /// Picks it where the type allows, under a name that no trait of the user has; the lifetime is that of the bytes, for types that borrow.
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
    PickLump gives LumpCodec;
    PickSerde gives SerdeCodec;
}
impl<T: Plain> PickPlain<'_> for &&Probe<T> {}
impl<T: Lump> PickLump<'_> for &Probe<T> {}
impl<'a, T: Serialize + Deserialize<'a>> PickSerde<'a> for Probe<T> {}

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
            .ok_or_else(|| CodecError(format!("bytes that are no `{}`", std::any::type_name::<T>())))
    }
}

fn put_lump<'o>(length: usize, out: &'o mut Encoder<'_>) -> &'o mut [u8] {
    out.put(&(length as u64).to_le_bytes());
    out.room(length)
}

fn take_lump<'a>(input: &mut Decoder<'a>) -> Result<&'a [u8], CodecError> {
    let length: u64 = PlainCodec.decode(input)?;
    input.take(usize::try_from(length).unwrap_or(usize::MAX))
}

fn take_text<'a>(input: &mut Decoder<'a>) -> Result<&'a str, CodecError> {
    std::str::from_utf8(take_lump(input)?).map_err(|error| CodecError(error.to_string()))
}

/// Bytes from one value of a vector to the next: at least one, so that no length says more than its bytes.
const fn stride<T: Plain>() -> usize {
    if T::SIZE == 0 { 1 } else { T::SIZE }
}

impl<T: Plain> Encode<Vec<T>> for LumpCodec {
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &Vec<T>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        self.encode(value.as_slice(), out)
    }
}

impl<T: Plain> Encode<[T]> for LumpCodec {
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &[T], out: &mut Encoder<'_>) -> Result<(), CodecError> {
        values_to_bytes(value, put_lump(value.len() * stride::<T>(), out));
        Ok(())
    }
}

impl<'a, T: Plain> Decode<'a, Vec<T>> for LumpCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<Vec<T>, CodecError> {
        let bytes = take_lump(input)?;
        let bad = || CodecError(format!("bytes that are no vector of `{}`", std::any::type_name::<T>()));
        if !bytes.len().is_multiple_of(stride::<T>()) {
            return Err(bad());
        }
        let mut values = Vec::with_capacity(bytes.len() / stride::<T>());
        for bytes in bytes.chunks_exact(stride::<T>()) {
            values.push(T::from_bytes(&bytes[..T::SIZE]).ok_or_else(bad)?);
        }
        Ok(values)
    }
}

macro_rules! encode_lump_of_bytes {
    ($($type:ty),*) => {$(
        impl Encode<$type> for LumpCodec {
            fn size(&self) -> Option<usize> {
                None
            }
            fn encode(&self, value: &$type, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                put_lump(value.len(), out).copy_from_slice(AsRef::<[u8]>::as_ref(value));
                Ok(())
            }
        }
    )*};
}
encode_lump_of_bytes!(String, str, &str, &[u8]);

impl<'a> Decode<'a, String> for LumpCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<String, CodecError> {
        take_text(input).map(str::to_owned)
    }
}

impl<'a> Decode<'a, &'a str> for LumpCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<&'a str, CodecError> {
        take_text(input)
    }
}

impl<'a> Decode<'a, &'a [u8]> for LumpCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<&'a [u8], CodecError> {
        take_lump(input)
    }
}

impl<T: Serialize + ?Sized> Encode<T> for SerdeCodec {
    #[inline]
    fn size(&self) -> Option<usize> {
        None
    }
    fn encode(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        postcard::serialize_with_flavor(value, out).map_err(|error| CodecError(error.to_string()))
    }
}

impl<'a, T: Deserialize<'a>> Decode<'a, T> for SerdeCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<T, CodecError> {
        let (value, rest) = postcard::take_from_bytes(input.rest).map_err(|error| CodecError(error.to_string()))?;
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
    CodecError(format!("`{}` cannot be encoded", std::any::type_name::<T>()))
}
