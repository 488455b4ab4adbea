//! The limits where a value is encoded.
//!
//! A sequence of elements that take no bytes may be as long as a number can say, and a type that contains itself is
//! encoded by a function that calls itself. A [`Guard`](super::Guard) of the other direction stands between serde and
//! postcard here: it counts, and refuses what [`take_from`](super::take_from) would refuse.

use std::cell::Cell;
use std::fmt::Display;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{DEPTH_MAX, EMPTY_ELEMENTS_MAX, Excess, refused};
use crate::codec::CodecError;
use crate::codec::fault::Fault;
use crate::process::stack;

/// Writes a value with the serializer, which [counts](WriteLimits::count) its bytes.
///
/// # Errors
///
/// The value's own, and those of the limits.
#[inline]
pub(crate) fn put<T, S>(value: &T, serializer: S, limits: &WriteLimits) -> Result<S::Ok, CodecError>
where
    T: Serialize + ?Sized,
    S: Serializer<Error = Fault>,
{
    let result = value.serialize(Bounded { inner: serializer, limits, depth: 0 });
    match (result, limits.excess.take()) {
        (Ok(ok), None) => Ok(ok),
        // An implementation may have made something else of the error, or swallowed it.
        (_, Some(excess)) => Err(refused(excess)),
        (Err(fault), None) => Err(CodecError::new(fault.to_string())),
    }
}

/// The check of a sequence whose elements take `size` bytes each, before there is memory for it.
///
/// # Errors
///
/// They take no bytes and are too many, or they take more than a value may.
#[inline]
pub(crate) fn check_sequence(elements: usize, size: usize) -> Result<(), CodecError> {
    let bytes = elements.saturating_mul(size);
    if size == 0 && elements > EMPTY_ELEMENTS_MAX {
        Err(refused(Excess::EmptyElements))
    } else if bytes > BYTES_MAX {
        Err(refused(Excess::Bytes))
    } else {
        Ok(())
    }
}

/// Bytes of the longest value: its length is sent as a `u32`.
const BYTES_MAX: usize = u32::MAX as usize;

/// What one value has taken of its limits.
#[derive(Debug)]
pub(crate) struct WriteLimits {
    /// Bytes.
    written: Cell<usize>,
    empty_elements: Cell<usize>,
    /// Bytes of stack that were left when the value began.
    stack_bytes: usize,
    /// The stack pointer then.
    stack_start: usize,
    excess: Cell<Option<Excess>>,
}

impl WriteLimits {
    pub(crate) fn new() -> Self {
        WriteLimits {
            written: Cell::new(0),
            empty_elements: Cell::new(0),
            stack_bytes: stack::left(),
            stack_start: stack::pointer(),
            excess: Cell::new(None),
        }
    }

    /// So many bytes are about to be written. A value that never ends is refused before it has taken all memory.
    #[inline(always)]
    pub(crate) fn count<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let written = self.written.get().saturating_add(bytes);
        self.written.set(written);
        if written > BYTES_MAX { Err(self.refuse(Excess::Bytes)) } else { Ok(()) }
    }

    /// One level below `depth`, if there may be one more.
    #[inline]
    fn deeper<E: Error>(&self, depth: u32) -> Result<u32, E> {
        if depth == DEPTH_MAX {
            return Err(self.refuse(Excess::Depth));
        }
        if self.stack_start.saturating_sub(stack::pointer()) > self.stack_bytes / 2 {
            return Err(self.refuse(Excess::Stack { depth, stack_bytes: self.stack_bytes }));
        }
        Ok(depth + 1)
    }

    /// An element of a sequence or map has been written, which began at `start`.
    #[inline]
    fn end_element<E: Error>(&self, start: usize) -> Result<(), E> {
        if self.written.get() == start {
            self.empty_elements.set(self.empty_elements.get() + 1);
            if self.empty_elements.get() > EMPTY_ELEMENTS_MAX {
                return Err(self.refuse(Excess::EmptyElements));
            }
        }
        Ok(())
    }

    #[cold]
    fn refuse<E: Error>(&self, excess: Excess) -> E {
        self.excess.set(Some(excess));
        E::custom("past a limit")
    }
}

/// A serializer, or what it hands out for the parts of a value, or a value that is such a part: under limits.
struct Bounded<'l, T> {
    inner: T,
    limits: &'l WriteLimits,
    /// TaskOptions, enums, sequences and maps around it.
    depth: u32,
}

impl<'l, T> Bounded<'l, T> {
    #[inline(always)]
    fn part<V>(&self, value: V) -> Bounded<'l, V> {
        Bounded { inner: value, limits: self.limits, depth: self.depth }
    }

    /// `make` of the inner one, for parts that are one level deeper.
    #[inline(always)]
    fn nested<U, E: Error>(self, make: impl FnOnce(T) -> Result<U, E>) -> Result<Bounded<'l, U>, E> {
        let depth = self.limits.deeper(self.depth)?;
        Ok(Bounded { inner: make(self.inner)?, limits: self.limits, depth })
    }
}

impl<V: Serialize + ?Sized> Serialize for Bounded<'_, &V> {
    #[inline(always)]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(self.part(serializer))
    }
}

macro_rules! untouched {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[inline(always)]
        fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($argument),*)
        }
    )*};
}

type Name = &'static str;

impl<'l, S: Serializer> Serializer for Bounded<'l, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Bounded<'l, S::SerializeSeq>;
    type SerializeTuple = Bounded<'l, S::SerializeTuple>;
    type SerializeTupleStruct = Bounded<'l, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Bounded<'l, S::SerializeTupleVariant>;
    type SerializeMap = Bounded<'l, Entries<S::SerializeMap>>;
    type SerializeStruct = Bounded<'l, S::SerializeStruct>;
    type SerializeStructVariant = Bounded<'l, S::SerializeStructVariant>;

    untouched! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: Name);
    }

    #[inline(always)]
    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<S::Ok, S::Error> {
        let Bounded { inner, limits, depth } = self.nested(Ok)?;
        inner.serialize_some(&Bounded { inner: value, limits, depth })
    }

    #[inline(always)]
    fn serialize_unit_variant(self, name: Name, index: u32, variant: Name) -> Result<S::Ok, S::Error> {
        self.nested(Ok)?.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline(always)]
    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, name: Name, value: &V) -> Result<S::Ok, S::Error> {
        let value = self.part(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    #[inline(always)]
    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        name: Name,
        index: u32,
        variant: Name,
        value: &V,
    ) -> Result<S::Ok, S::Error> {
        let Bounded { inner, limits, depth } = self.nested(Ok)?;
        inner.serialize_newtype_variant(name, index, variant, &Bounded { inner: value, limits, depth })
    }

    #[inline(always)]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.nested(|inner| inner.serialize_seq(len))
    }

    #[inline(always)]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let start = self.limits.written.get();
        self.nested(|inner| Ok(Entries { inner: inner.serialize_map(len)?, start }))
    }

    #[inline(always)]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Bounded { inner: self.inner.serialize_tuple(len)?, limits: self.limits, depth: self.depth })
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, name: Name, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        Ok(Bounded { inner: self.inner.serialize_tuple_struct(name, len)?, limits: self.limits, depth: self.depth })
    }

    #[inline(always)]
    fn serialize_struct(self, name: Name, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Bounded { inner: self.inner.serialize_struct(name, len)?, limits: self.limits, depth: self.depth })
    }

    #[inline(always)]
    fn serialize_tuple_variant(
        self,
        name: Name,
        index: u32,
        variant: Name,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.nested(|inner| inner.serialize_tuple_variant(name, index, variant, len))
    }

    #[inline(always)]
    fn serialize_struct_variant(
        self,
        name: Name,
        index: u32,
        variant: Name,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.nested(|inner| inner.serialize_struct_variant(name, index, variant, len))
    }

    #[inline(always)]
    fn collect_str<V: Display + ?Sized>(self, value: &V) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<S: SerializeSeq> SerializeSeq for Bounded<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline(always)]
    fn serialize_element<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), S::Error> {
        let start = self.limits.written.get();
        let value = self.part(value);
        self.inner.serialize_element(&value)?;
        self.limits.end_element(start)
    }

    #[inline(always)]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

/// The entries of a map, and the bytes that there were before the last of them.
struct Entries<S> {
    inner: S,
    start: usize,
}

impl<S: SerializeMap> SerializeMap for Bounded<'_, Entries<S>> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline(always)]
    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), S::Error> {
        self.inner.start = self.limits.written.get();
        let key = self.part(key);
        self.inner.inner.serialize_key(&key)
    }

    #[inline(always)]
    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), S::Error> {
        let value = self.part(value);
        self.inner.inner.serialize_value(&value)?;
        self.limits.end_element(self.inner.start)
    }

    #[inline(always)]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.inner.end()
    }
}

macro_rules! fixed_parts {
    ($($trait:ident: $method:ident($($key:ident: $type:ty)?);)*) => {$(
        impl<S: $trait> $trait for Bounded<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline(always)]
            fn $method<V: Serialize + ?Sized>(&mut self, $($key: $type,)? value: &V) -> Result<(), S::Error> {
                let value = self.part(value);
                self.inner.$method($($key,)? &value)
            }

            fixed_parts!(@skip $($key)?);

            #[inline(always)]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
    (@skip) => {};
    (@skip $key:ident) => {
        #[inline(always)]
        fn skip_field(&mut self, $key: Name) -> Result<(), S::Error> {
            self.inner.skip_field($key)
        }
    };
}

fixed_parts! {
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(key: Name);
    SerializeStructVariant: serialize_field(key: Name);
}
