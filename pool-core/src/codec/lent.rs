//! Values that a worker lends to a function: in place where the encoded bytes are the value's memory, else a decoded copy.

use std::borrow::Borrow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::decoder::Decoder;
use crate::codec::plain::Plain;
use crate::codec::{Blob, BlobCodec, CodecError, Decode, take_blob};

/// The value that a worker holds while it lends a `&Self` to a function: the bytes in place for text and numbers, else an owned
/// value.
pub trait Lent {
    /// The decoded value that lends.
    type Held<'a>: Borrow<Self>;
}

impl<T> Lent for T {
    type Held<'a> = T;
}

// The macro itself sees to `&[u8]`, which is the encoded bytes: an implementation here would overlap with this one.
impl<T> Lent for [T] {
    type Held<'a> = Slice<'a, T>;
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

/// The values of a `&[T]` while it is lent to a function.
#[derive(Debug)]
pub struct Slice<'a, T>(Values<'a, T>);

/// Takes bytes for values, if they can be.
type View<T> = fn(&[u8]) -> Option<&[T]>;

#[derive(Debug)]
enum Values<'a, T> {
    /// Bytes of which the function has made values before.
    InPlace(&'a [u8], View<T>),
    Decoded(Vec<T>),
}

impl<T> Borrow<[T]> for Slice<'_, T> {
    fn borrow(&self) -> &[T] {
        match &self.0 {
            // The view is asked again, because keeping its result beside the bytes would need unsafe code.
            Values::InPlace(bytes, view) => view(bytes).unwrap_or_default(),
            Values::Decoded(values) => values,
        }
    }
}

impl<T: Plain> Blob for Slice<'_, T> {}

impl<'a, T: Plain> Decode<'a, Slice<'a, T>> for BlobCodec {
    fn decode(&self, input: &mut Decoder<'a>) -> Result<Slice<'a, T>, CodecError> {
        // A decoder of its own: if the bytes are not aligned, the input is still in front of them.
        let mut ahead = Decoder::new(input.rest);
        let bytes = take_blob(&mut ahead)?;
        if T::view(bytes).is_some() {
            *input = ahead;
            return Ok(Slice(Values::InPlace(bytes, T::view)));
        }
        Decode::<Vec<T>>::decode(self, input).map(|values| Slice(Values::Decoded(values)))
    }
}

// A slice is encoded as a vector is, so that a caller may send either.

impl<T: Serialize> Serialize for Slice<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values: &[T] = self.borrow();
        values.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Slice<'_, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|values| Slice(Values::Decoded(values)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encode;
    use crate::codec::encoder::Encoder;

    /// Encodes the values behind so many bytes of memory that is aligned, and decodes them there. True if they were lent in
    /// place.
    fn lend<T: Plain + Copy + PartialEq + std::fmt::Debug>(values: &[T], before: usize) -> bool {
        let mut memory = [0_u8; 256];
        let bytes: Vec<u8> = Encoder::to_vec(vec![0; before]).finish().unwrap_err();
        let mut out = Encoder::to_vec(bytes);
        BlobCodec.encode(values, &mut out).unwrap();
        let bytes = out.finish().unwrap_err();
        let aligned = memory.as_ptr().align_offset(16);
        let memory = &mut memory[aligned..];
        memory[..bytes.len()].copy_from_slice(&bytes);
        let mut input = Decoder::new(&memory[before..bytes.len()]);
        let slice: Slice<'_, T> = BlobCodec.decode(&mut input).unwrap();
        assert!(input.rest.is_empty());
        assert_eq!(Borrow::<[T]>::borrow(&slice), values);
        matches!(slice.0, Values::InPlace(..))
    }

    #[test]
    fn numbers_are_lent_in_place_where_they_are_aligned() {
        let is_little = cfg!(target_endian = "little");
        assert_eq!(lend(&[1.5, -2.0, f64::MAX], 8), is_little);
        assert!(!lend(&[1.5, -2.0, f64::MAX], 4));
        assert_eq!(lend(&[1_u32, 2, 3], 4), is_little);
        assert!(!lend(&[1_u32, 2, 3], 1));
        assert_eq!(lend(&[1_u8, 2, 3], 1), is_little);
        assert_eq!(lend::<i64>(&[], 0), is_little);
    }

    #[test]
    fn other_values_are_decoded() {
        for before in 0..9 {
            assert!(!lend(&[true, false], before));
            assert!(!lend(&['a', 'ß'], before));
            assert!(!lend(&[(1_u8, 2_u32), (3, 4)], before));
            assert!(!lend(&[(), ()], before));
        }
    }

    #[test]
    fn bytes_that_are_no_values_are_an_error() {
        let mut cut = 8_u64.to_le_bytes().to_vec();
        assert!(<BlobCodec as Decode<'_, Slice<'_, u64>>>::decode(&BlobCodec, &mut Decoder::new(&cut)).is_err());
        cut.extend([0; 8]);
        cut[0] = 7;
        assert!(<BlobCodec as Decode<'_, Slice<'_, u64>>>::decode(&BlobCodec, &mut Decoder::new(&cut)).is_err());
    }
}
