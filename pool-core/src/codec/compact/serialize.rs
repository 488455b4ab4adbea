//! How serde writes values: by the methods of its `Serializer`.

use serde::ser::{self, Serialize};

use super::advice::REMEDY;
use super::noting::Noting;
use super::serializer::{Elements, Fields, Serializer, put_bytes};
use super::shape::{Owner, Shape};
use super::varint;
use crate::attachments::scope::{MARK, Writing};
use crate::codec::error::{Cause, CodecError};

macro_rules! numbers {
    ($($method:ident($type:ty) $($zigzag:ident)?;)*) => {$(
        #[cfg_attr(not(debug_assertions), inline(always))]
        fn $method(self, number: $type) -> Result<(), CodecError> {
            $(let number = $zigzag(number.into());)?
            varint::put(number.into(), self.out);
            Ok(())
        }
    )*};
}

/// Small numbers of either sign become small numbers.
#[cfg_attr(not(debug_assertions), inline(always))]
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

impl<'s, 'e, 'b, N: Noting> ser::Serializer for &'s mut Serializer<'e, 'b, N> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'s, 'e, 'b, N>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Fields<'s, 'e, 'b, N>;
    type SerializeTupleVariant = Fields<'s, 'e, 'b, N>;
    type SerializeMap = Elements<'s, 'e, 'b, N>;
    type SerializeStruct = Fields<'s, 'e, 'b, N>;
    type SerializeStructVariant = Fields<'s, 'e, 'b, N>;

    numbers! {
        serialize_i16(i16) zigzag;
        serialize_i32(i32) zigzag;
        serialize_i64(i64) zigzag;
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.out.put_array([value.into()]);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_i8(self, number: i8) -> Result<(), CodecError> {
        self.out.put_array(number.to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_u8(self, number: u8) -> Result<(), CodecError> {
        self.out.put_array([number]);
        Ok(())
    }
    fn serialize_i128(self, number: i128) -> Result<(), CodecError> {
        varint::put_long(((number << 1) ^ (number >> 127)) as u128, self.out);
        Ok(())
    }
    fn serialize_u128(self, number: u128) -> Result<(), CodecError> {
        varint::put_long(number, self.out);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f32(self, number: f32) -> Result<(), CodecError> {
        self.out.put_array(number.to_bits().to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f64(self, number: f64) -> Result<(), CodecError> {
        self.out.put_array(number.to_bits().to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_str(self, text: &str) -> Result<(), CodecError> {
        self.serialize_bytes(text.as_bytes())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CodecError> {
        put_bytes(bytes, self.out, &mut self.limits)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.out.put_array([0]);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.limits.nesting.enter()?;
        self.out.put_array([1]);
        value.serialize(&mut *self)?;
        self.limits.nesting.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<(), CodecError> {
        self.variant(name, index, variant)?;
        self.limits.nesting.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), CodecError> {
        // Both are constants, so this costs nothing.
        if name == MARK {
            let writing = Writing::begin(self.out.side());
            value.serialize(&mut *self)?;
            return self.out.attach(writing.finish());
        }
        value.serialize(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.variant(name, index, variant)?;
        self.sum = self.sum.wrapping_add(Shape::NEWTYPE.total());
        value.serialize(&mut *self)?;
        self.limits.nesting.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, CodecError> {
        // The number stands in front of the elements in a varint, so it cannot be filled in later.
        let announced = length.ok_or_else(unknown_length)?;
        self.limits.nesting.enter()?;
        varint::put(announced as u64, self.out);
        self.note(|notes, written| notes.trace.open(written));
        let start = self.out.written_bytes();
        Ok(Elements { to: self, announced, written: 0, start })
    }
    // A tuple's fields are counted beforehand, so its total is a constant and no state is kept while they are written.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple(self, length: usize) -> Result<Self, CodecError> {
        self.sum = self.sum.wrapping_add(Shape::TUPLE.of(Owner::TUPLE).nameless(length).total());
        self.note(|notes, written| {
            notes.log.written(Owner::TUPLE, Vec::new(), length);
            notes.trace.open(written);
        });
        Ok(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        Ok(self.fields(Owner::structure(name), Shape::TUPLE))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        self.variant(name, index, variant)?;
        Ok(self.fields(Owner::variant(name, index, variant), Shape::TUPLE))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, CodecError> {
        self.serialize_seq(length)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        Ok(self.fields(Owner::structure(name), Shape::NAMED))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        self.variant(name, index, variant)?;
        Ok(self.fields(Owner::variant(name, index, variant), Shape::NAMED))
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        // Written out first, since its length stands before it.
        self.serialize_str(&value.to_string())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cold]
fn unknown_length() -> CodecError {
    let text = "its type writes elements without saying how many (serde's `flatten`, or an iterator), which the default \
                format cannot: ";
    CodecError::of(Cause::Format, [text, REMEDY].concat())
}
