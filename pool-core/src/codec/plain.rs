//! Values that are their bytes: numbers, and arrays and tuples of them.

use crate::codec::encoder::Encoder;
use crate::codec::number_buffer::{self, ResultBuffer};

/// A value that its bytes are all of: a fixed size, no padding, no pointer.
pub trait Plain: Sized {
    /// Its size in bytes.
    const SIZE: usize;
    /// Writes exactly `SIZE` bytes.
    fn to_bytes(&self, bytes: &mut [u8]);
    /// Any value, for [`read`](Plain::read) to overwrite.
    fn zero() -> Self;
    /// Becomes the value that is exactly these `SIZE` bytes; false, and it is any value, if they are none. So an array is
    /// decoded where it lies: each function that hands one to its caller may take a copy's worth of stack.
    #[must_use]
    fn read(&mut self, bytes: &[u8]) -> bool;
    /// Reads exactly `SIZE` bytes; `None` if they are no such value.
    #[inline]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // Read into its place, not returned by `read`: an array may be as large as the stack has room for once.
        let mut value = Self::zero();
        if value.read(bytes) { Some(value) } else { None }
    }

    /// Writes many, one behind the other; each takes at least one byte.
    fn append(values: &[Self], out: &mut Encoder<'_>) {
        values_to_bytes(values, out.room(values.len() * stride::<Self>()));
    }
    /// A buffer for about so many values, if they need not be looked at.
    fn result_buffer(_items: usize) -> Option<Box<dyn ResultBuffer>> {
        None
    }
    /// The vector's memory as it is, if that is its encoding, or the vector.
    fn vec_into_bytes(values: Vec<Self>) -> Result<Vec<u8>, Vec<Self>> {
        Err(values)
    }
    /// A vector with this memory, if the values' encoding is their memory.
    fn vec_from_bytes(_bytes: Vec<u8>) -> Option<Vec<Self>> {
        None
    }
    /// These bytes as the memory of values; `None` if the values' encoding is not their memory, or the bytes are not
    /// aligned for them.
    fn view(_bytes: &[u8]) -> Option<&[Self]> {
        None
    }
    /// Appends many that stand one behind the other; false, and nothing is appended, if the bytes are no such values.
    fn append_from_bytes(bytes: &[u8], values: &mut Vec<Self>) -> bool {
        let before = values.len();
        // The bytes are here, so this reserves little more memory than they have.
        values.reserve(bytes.len() / stride::<Self>());
        for bytes in bytes.chunks(stride::<Self>()) {
            let Some(value) = bytes.get(..Self::SIZE).and_then(Self::from_bytes) else {
                values.truncate(before);
                return false;
            };
            values.push(value);
        }
        true
    }
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
            fn zero() -> Self {
                <$number>::default()
            }
            #[inline]
            fn read(&mut self, bytes: &[u8]) -> bool {
                let Ok(bytes) = bytes.try_into() else { return false };
                *self = <$number>::from_le_bytes(bytes);
                true
            }
            fn result_buffer(items: usize) -> Option<Box<dyn ResultBuffer>> {
                number_buffer::new_buffer::<$number>(items)
            }
            fn view(bytes: &[u8]) -> Option<&[Self]> {
                number_buffer::view(bytes)
            }
            fn append(values: &[Self], out: &mut Encoder<'_>) {
                match number_buffer::bytes_of(values) {
                    Some(bytes) => out.put(bytes),
                    None => values_to_bytes(values, out.room(values.len() * Self::SIZE)),
                }
            }
            // Without an `Option` for each number, so that the compiler makes one `memcpy` of the loop.
            fn append_from_bytes(bytes: &[u8], values: &mut Vec<Self>) -> bool {
                let (chunks, rest) = bytes.as_chunks();
                if rest.is_empty() {
                    values.extend(chunks.iter().copied().map(<$number>::from_le_bytes));
                }
                rest.is_empty()
            }
        }
    )*};
}
plain_numbers!(u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

// By hand, since a byte's memory is its encoding on every machine, and a vector of them travels as it is.
impl Plain for u8 {
    const SIZE: usize = 1;
    #[inline]
    fn to_bytes(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&[*self]);
    }
    #[inline]
    fn zero() -> Self {
        0
    }
    #[inline]
    fn read(&mut self, bytes: &[u8]) -> bool {
        let &[byte] = bytes else { return false };
        *self = byte;
        true
    }
    fn result_buffer(items: usize) -> Option<Box<dyn ResultBuffer>> {
        number_buffer::new_buffer::<u8>(items)
    }
    fn view(bytes: &[u8]) -> Option<&[Self]> {
        number_buffer::view(bytes)
    }
    fn append(values: &[Self], out: &mut Encoder<'_>) {
        out.put(values);
    }
    fn append_from_bytes(bytes: &[u8], values: &mut Vec<Self>) -> bool {
        pool_ipc::append(values, bytes);
        true
    }
    fn vec_into_bytes(values: Vec<Self>) -> Result<Vec<u8>, Vec<Self>> {
        Ok(values)
    }
    fn vec_from_bytes(bytes: Vec<u8>) -> Option<Vec<Self>> {
        Some(bytes)
    }
}

impl Plain for bool {
    const SIZE: usize = 1;
    #[inline]
    fn to_bytes(&self, bytes: &mut [u8]) {
        u8::from(*self).to_bytes(bytes);
    }
    #[inline]
    fn zero() -> Self {
        false
    }
    #[inline]
    fn read(&mut self, bytes: &[u8]) -> bool {
        // Any other byte is refused: a `bool` of another pattern would be undefined behaviour.
        *self = bytes == [1];
        matches!(bytes, [0 | 1])
    }
}

impl Plain for char {
    const SIZE: usize = u32::SIZE;
    #[inline]
    fn to_bytes(&self, bytes: &mut [u8]) {
        u32::from(*self).to_bytes(bytes);
    }
    #[inline]
    fn zero() -> Self {
        char::default()
    }
    #[inline]
    fn read(&mut self, bytes: &[u8]) -> bool {
        let Some(c) = u32::from_bytes(bytes).and_then(char::from_u32) else { return false };
        *self = c;
        true
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
    fn zero() -> Self {
        std::array::from_fn(|_| T::zero())
    }
    #[inline]
    fn read(&mut self, bytes: &[u8]) -> bool {
        // `chunks_exact` panics where values have no size.
        if bytes.len() != Self::SIZE || T::SIZE == 0 {
            return bytes.len() == Self::SIZE;
        }
        // No early end: without a branch for each value the loop becomes vector instructions.
        let mut is_valid = true;
        for (value, bytes) in self.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
            is_valid &= value.read(bytes);
        }
        is_valid
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
            #[allow(clippy::unused_unit)]
            fn zero() -> Self {
                ($($name::zero(),)*)
            }
            #[inline]
            #[allow(non_snake_case, unused_variables, unused_assignments, unused_mut)]
            fn read(&mut self, bytes: &[u8]) -> bool {
                // Field by field: Rust may lay out a tuple in any order, and with padding.
                let ($($name,)*) = self;
                let mut at = 0;
                let mut is_valid = bytes.len() == Self::SIZE;
                $(
                    is_valid = is_valid && $name.read(&bytes[at..at + $name::SIZE]);
                    at += $name::SIZE;
                )*
                is_valid
            }
        }
    )*};
}
// A longer tuple goes through serde.
plain_tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

#[inline]
pub(crate) fn values_to_bytes<T: Plain>(values: &[T], bytes: &mut [u8]) {
    for (value, bytes) in values.iter().zip(bytes.chunks_exact_mut(stride::<T>())) {
        value.to_bytes(&mut bytes[..T::SIZE]);
    }
}

/// Bytes from one value of a vector to the next: at least one, so that no length claims more values than there are bytes.
pub(crate) const fn stride<T: Plain>() -> usize {
    if T::SIZE == 0 { 1 } else { T::SIZE }
}
