//! Numbers among values of any type: they are their bytes, and need no encoding between processes of one machine.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::ptr;

use super::type_identity;

/// Bytes of the largest numbers.
pub(crate) const NUMBER_BYTES_MAX: usize = 16;

macro_rules! numbers {
    ($($number:ty)*) => {
        /// The size of a `T`, if it is a number.
        // A constant after optimization: the identities of types are.
        #[cfg_attr(not(debug_assertions), inline(always))]
        pub(crate) fn size<T: ?Sized>() -> Option<usize> {
            let identity = type_identity::of::<T>();
            $( if identity == TypeId::of::<$number>() { return Some(size_of::<$number>()); } )*
            None
        }
    };
}
// Not `bool` and `char`, of which some bytes are none.
numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

/// The bytes of a number, followed by zeros; `None` if `T` is no type of numbers.
#[inline]
pub(crate) fn to_bytes<T: ?Sized>(value: &T) -> Option<[u8; NUMBER_BYTES_MAX]> {
    let size = size::<T>()?;
    let mut bytes = [0; NUMBER_BYTES_MAX];
    // SAFETY:
    // - `T` is one of the types above, so `value` points to `size` bytes, all of them initialized;
    // - none of these types is larger than the array, which is memory of its own.
    unsafe { ptr::copy_nonoverlapping(ptr::from_ref(value).cast::<u8>(), bytes.as_mut_ptr(), size) };
    Some(bytes)
}

/// The number that is these bytes; `None` if `T` is no type of numbers, or of another size.
#[inline]
pub(crate) fn from_bytes<T>(bytes: &[u8]) -> Option<T> {
    if size::<T>() != Some(bytes.len()) {
        return None;
    }
    // SAFETY:
    // - `T` is one of the types above, of which any bytes are a value;
    // - there are as many bytes as it has; they need not be aligned.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_others_are_none() {
        let bytes = to_bytes(&-2.5_f64).unwrap();
        assert_eq!(from_bytes::<f64>(&bytes[..8]), Some(-2.5));
        assert_eq!(from_bytes::<f64>(&bytes[..7]), None, "too few");
        assert_eq!(to_bytes(&u128::MAX), Some([255; 16]));
        assert_eq!(to_bytes(&3_u8).unwrap()[..2], [3, 0]);
        assert_eq!((size::<bool>(), size::<char>(), size::<&u8>(), size::<str>()), (None, None, None, None));
        assert_eq!(from_bytes::<bool>(&[1]), None);
    }
}
