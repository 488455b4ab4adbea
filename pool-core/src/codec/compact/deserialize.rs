//! How serde reads values that [`Serializer`](super::serializer::Serializer) wrote.

use serde::de::{self, Visitor};

use super::access::{Elements, Fields, Variant};
use super::advice::REMEDY;
use super::deserializer::Deserializer;
use super::enums::Names;
use super::shape::Owner;
use super::watch::Watch;
use crate::attachments::scope::{MARK, Reading};
use crate::codec::error::{Cause, CodecError};

impl<'a, W: Watch<'a>> Deserializer<'a, W> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn named<V: Visitor<'a>>(
        &mut self,
        owner: Owner,
        names: Names,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.reader.limits.check_room::<V::Value>()?;
        self.watch.open(self.reader.rest);
        let mut fields = Fields { from: self, left: names.len(), size: 0 };
        // The value is returned in each arm, because keeping it across later code would move it through memory.
        match visitor.visit_seq(&mut fields) {
            Ok(value) => {
                // There are more names than fields where a field has aliases, and never fewer.
                let read = names.len() - fields.left;
                self.add_struct::<V>(owner, names, read);
                Ok(value)
            }
            Err(fault) => Err(fault.within_last(owner.name(), names, names.len() - fields.left)),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn nameless<V: Visitor<'a>>(
        &mut self,
        owner: Owner,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.reader.limits.check_room::<V::Value>()?;
        self.watch.open(self.reader.rest);
        let mut fields = Fields { from: self, left: length, size: 0 };
        match visitor.visit_seq(&mut fields) {
            Ok(value) => {
                let read = length - fields.left;
                // Where the fields fill the type, there is none beside those that are read.
                let is_open = fields.size < size_of::<V::Value>();
                self.add_tuple::<V>(owner, read, is_open);
                Ok(value)
            }
            Err(fault) => Err(fault.within_numbered(owner.name(), (length - fields.left).saturating_sub(1))),
        }
    }
}

macro_rules! numbers {
    ($($method:ident gives $visit:ident($type:ty) $($unzigzag:ident)?;)*) => {$(
        #[cfg_attr(not(debug_assertions), inline(always))]
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
            let number = self.reader.varint(<$type>::BITS)?;
            $(let number = $unzigzag(number);)?
            // It has no more bits than the type.
            visitor.$visit(number as $type)
        }
    )*};
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

impl<'a, W: Watch<'a>> de::Deserializer<'a> for &mut Deserializer<'a, W> {
    type Error = CodecError;

    numbers! {
        deserialize_i16 gives visit_i16(i16) unzigzag;
        deserialize_i32 gives visit_i32(i32) unzigzag;
        deserialize_i64 gives visit_i64(i64) unzigzag;
        deserialize_u16 gives visit_u16(u16);
        deserialize_u32 gives visit_u32(u32);
        deserialize_u64 gives visit_u64(u64);
    }

    #[cold]
    fn deserialize_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value, CodecError> {
        Err(asked())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_bool(self.reader.boolean()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_i8<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_i8(i8::from_le_bytes([self.reader.byte()?]))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_u8<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_u8(self.reader.byte()?)
    }
    // Numbers of 128 bits are rare, so these two are not inlined.
    fn deserialize_i128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let number = self.reader.long_varint()?;
        visitor.visit_i128((number >> 1) as i128 ^ -((number & 1) as i128))
    }
    fn deserialize_u128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_u128(self.reader.long_varint()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_f32(f32::from_bits(u32::from_le_bytes(self.reader.array()?)))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_f64(f64::from_bits(u64::from_le_bytes(self.reader.array()?)))
    }
    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_char(self.reader.character()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_str(self.reader.text()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_str(visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_bytes(self.reader.bytes()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_bytes(visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.reader.limits.check_room::<V::Value>()?;
        if !self.reader.open_option()? {
            return visitor.visit_none();
        }
        let value = visitor.visit_some(&mut *self);
        self.reader.limits.nesting.leave();
        value
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.reader.limits.check_room::<V::Value>()?;
        // Both are constants, so this costs nothing.
        if name == MARK {
            let _reading = Reading::begin();
            return visitor.visit_newtype_struct(self);
        }
        visitor.visit_newtype_struct(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let left = self.open_sequence()?;
        let mut elements = Elements { from: &mut *self, left };
        let value = visitor.visit_seq(&mut elements);
        let left = elements.left;
        self.close_sequence();
        // Elements that the type left unread would be taken for the next value.
        if left > 0 && value.is_ok() { Err(left_over(left)) } else { value }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let left = self.open_sequence()?;
        let mut entries = Elements { from: &mut *self, left };
        let value = visitor.visit_map(&mut entries);
        let left = entries.left;
        self.close_sequence();
        if left > 0 && value.is_ok() { Err(left_over(left)) } else { value }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_tuple<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.reader.limits.check_room::<V::Value>()?;
        self.watch.open(self.reader.rest);
        // All of its fields are read, or the type refuses it. The total is added after an error, too, when it is not
        // looked at: a branch would cost more.
        let value = visitor.visit_seq(Fields { from: &mut *self, left: length, size: 0 });
        self.add_tuple::<V>(Owner::TUPLE, length, false);
        value
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.nameless(Owner::structure(name), length, visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.named(Owner::structure(name), fields, visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.reader.limits.check_room::<V::Value>()?;
        let index = self.reader.open_variant(name, variants, W::WATCHES)?;
        // Noted before the visitor is asked, because it may refuse the index on purpose, see `enums`.
        self.watch.variant((name, variants), index);
        let value = visitor.visit_enum(Variant { from: &mut *self, name, variants, index });
        self.reader.limits.nesting.leave();
        value
    }
    #[cold]
    fn deserialize_identifier<V: Visitor<'a>>(self, _: V) -> Result<V::Value, CodecError> {
        Err(asked())
    }
    #[cold]
    fn deserialize_ignored_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value, CodecError> {
        Err(asked())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cold]
#[inline(never)]
fn asked() -> CodecError {
    let text = "its type asks the format what comes next (serde's `untagged`, `tag` or `flatten`, or a type such as \
                `serde_json::Value`), which the default format does not say: ";
    CodecError::of(Cause::Format, [text, REMEDY].concat())
}

#[cold]
#[inline(never)]
fn left_over(elements: usize) -> CodecError {
    CodecError::of(Cause::Bytes, format!("{elements} elements that its type does not read"))
}
