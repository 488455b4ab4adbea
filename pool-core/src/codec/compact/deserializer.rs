//! Reading values that [`Serializer`](super::serializer::Serializer) wrote.

use serde::de::{self, Visitor};

use super::access::{Counted, Variant};
use super::enums::Enums;
use super::log::Log;
use super::shape::{Owner, Shape};
use super::totals::Key;
use crate::codec::fault::{Cause, Fault};

pub(super) type Names = &'static [&'static str];

/// Reads one value, and sums up its shape.
pub(crate) struct Deserializer<'a> {
    pub(super) rest: &'a [u8],
    pub(super) sum: u64,
    /// What few values need.
    pub(super) cold: Option<Box<Cold>>,
}

/// What is noted of a value beside its sum.
#[derive(Debug, Default)]
pub(super) struct Cold {
    pub(super) enums: Enums,
    /// What has been read, if that is asked for.
    pub(super) log: Option<Log>,
}

impl<'a> Deserializer<'a> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Deserializer { rest: bytes, sum: 0, cold: None }
    }

    /// The bytes behind what has been read.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault::truncated(length, self.rest.len())),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn byte(&mut self) -> Result<u8, Fault> {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                Ok(byte)
            }
            None => Err(Fault::truncated(1, 0)),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.rest.split_first_chunk() {
            Some((&bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault::truncated(N, self.rest.len())),
        }
    }

    /// A number of up to `bits` bits.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn varint(&mut self, bits: u32) -> Result<u64, Fault> {
        let byte = self.byte()?;
        if byte < 0x80 { Ok(byte.into()) } else { self.varint_from(byte, bits) }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn varint_from(&mut self, first: u8, bits: u32) -> Result<u64, Fault> {
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        while shift < bits {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            // The last group may have fewer than seven bits.
            if group >> (bits - shift).min(7) != 0 {
                break;
            }
            number |= group << shift;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
        Err(too_large(bits))
    }

    fn long_varint(&mut self) -> Result<u128, Fault> {
        let mut number = 0;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let group = u128::from(byte & 0x7f);
            if group >> (u128::BITS - shift).min(7) != 0 {
                break;
            }
            number |= group << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(too_large(u128::BITS))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn length(&mut self) -> Result<usize, Fault> {
        self.varint(u64::BITS).map(|length| length as usize)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn text(&mut self) -> Result<&'a str, Fault> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|error| Fault::new(Cause::Bytes, error.to_string()))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn variant(&mut self, name: &'static str, variants: Names) -> Result<u32, Fault> {
        let index = self.varint(u32::BITS)? as u32;
        let key = Key::variant(name, variants, index);
        let total = match key.look_up() {
            Some(total) if self.cold.is_none() => total,
            _ => self.new_variant(key, name, variants, index),
        };
        self.sum = self.sum.wrapping_add(total);
        Ok(index)
    }

    #[cold]
    fn new_variant(&mut self, key: Key, name: &'static str, variants: Names, index: u32) -> u64 {
        // An index past the end is for the type to refuse.
        let variant = variants.get(index as usize).copied().unwrap_or("");
        let cold = self.cold.get_or_insert_default();
        if let Some(log) = &mut cold.log {
            log.variant(name, variant);
        }
        let total = Shape::VARIANT.name(variant).total();
        if cold.enums.meet((name, variants)) {
            key.remember(total);
        }
        total
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn named<V: Visitor<'a>>(&mut self, owner: Owner, names: Names, visitor: V) -> Result<V::Value, Fault> {
        let mut fields = Counted { from: self, left: names.len() };
        // The value is returned at once, because it would go through memory if it were kept beside what follows.
        match visitor.visit_seq(&mut fields) {
            Ok(value) => {
                // There are more names than fields where a field has aliases, and never fewer.
                let read = names.len() - fields.left;
                self.add_struct(owner, names, read);
                Ok(value)
            }
            Err(fault) => {
                let read = names.len() - fields.left;
                Err(fault.within(owner.name(), names.get(read.saturating_sub(1)).copied().unwrap_or("")))
            }
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn add_struct(&mut self, owner: Owner, names: Names, read: usize) {
        let key = Key::fields(owner, names, read);
        let total = match key.look_up() {
            Some(total) if self.cold.is_none() => total,
            _ => self.new_struct(key, owner, names, read),
        };
        self.sum = self.sum.wrapping_add(total);
    }

    #[cold]
    fn new_struct(&mut self, key: Key, owner: Owner, names: Names, read: usize) -> u64 {
        if let Some(log) = self.cold.as_mut().and_then(|cold| cold.log.as_mut()) {
            log.read(owner, names, read);
        }
        let total = names[..read].iter().fold(Shape::NAMED.of(owner), |shape, name| shape.name(name)).total();
        key.remember(total);
        total
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn nameless<V: Visitor<'a>>(
        &mut self,
        owner: Owner,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut fields = Counted { from: self, left: length };
        match visitor.visit_seq(&mut fields) {
            Ok(value) => {
                let read = length - fields.left;
                self.add_tuple(owner, read);
                Ok(value)
            }
            Err(fault) => Err(fault.within(owner.name(), (length - fields.left).saturating_sub(1))),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn add_tuple(&mut self, owner: Owner, read: usize) {
        // Of a struct the name is a constant, and so is the total. Of a variant the index is none.
        let total = match owner.variant {
            None => Shape::TUPLE.of(owner).nameless(read).total(),
            Some(_) => {
                let key = Key::fields(owner, &[], read);
                key.look_up().unwrap_or_else(|| new_tuple(key, owner, read))
            }
        };
        if let Some(cold) = &mut self.cold {
            cold.tuple(owner, read);
        }
        self.sum = self.sum.wrapping_add(total);
    }
}

#[cold]
fn new_tuple(key: Key, owner: Owner, read: usize) -> u64 {
    let total = Shape::TUPLE.of(owner).nameless(read).total();
    key.remember(total);
    total
}

impl Cold {
    #[cold]
    fn tuple(&mut self, owner: Owner, read: usize) {
        if let Some(log) = &mut self.log {
            log.read(owner, &[], read);
        }
    }
}

#[cold]
fn too_large(bits: u32) -> Fault {
    Fault::new(Cause::Bytes, format!("a number of more than {bits} bits"))
}

macro_rules! numbers {
    ($($method:ident gives $visit:ident($type:ty) $($unzigzag:ident)?;)*) => {$(
        #[cfg_attr(not(debug_assertions), inline(always))]
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = self.varint(<$type>::BITS)?;
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

impl<'a> de::Deserializer<'a> for &mut Deserializer<'a> {
    type Error = Fault;

    numbers! {
        deserialize_i16 gives visit_i16(i16) unzigzag;
        deserialize_i32 gives visit_i32(i32) unzigzag;
        deserialize_i64 gives visit_i64(i64) unzigzag;
        deserialize_u16 gives visit_u16(u16);
        deserialize_u32 gives visit_u32(u32);
        deserialize_u64 gives visit_u64(u64);
    }

    #[cold]
    fn deserialize_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Fault> {
        Err(asked())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            byte => Err(Fault::new(Cause::Bytes, format!("the byte {byte} where a `bool` is expected"))),
        }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_i8<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i8(i8::from_le_bytes([self.byte()?]))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_u8<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u8(self.byte()?)
    }
    fn deserialize_i128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.long_varint()?;
        visitor.visit_i128((number >> 1) as i128 ^ -((number & 1) as i128))
    }
    fn deserialize_u128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u128(self.long_varint()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f32(f32::from_bits(u32::from_le_bytes(self.array()?)))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }
    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text()?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => visitor.visit_char(character),
            _ => Err(Fault::new(Cause::Bytes, "text that is no single character where a `char` is expected")),
        }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text()?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.length()?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            byte => Err(Fault::new(Cause::Bytes, format!("the byte {byte} where an `Option` is expected"))),
        }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.length()?;
        let mut elements = Counted { from: self, left };
        match visitor.visit_seq(&mut elements) {
            Ok(_) if elements.left > 0 => Err(left_over(elements.left)),
            result => result,
        }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_tuple<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.add_tuple(Owner::TUPLE, length);
        visitor.visit_seq(Counted { from: self, left: length })
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.nameless(Owner::structure(name), length, visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.length()?;
        let mut entries = Counted { from: self, left };
        match visitor.visit_map(&mut entries) {
            Ok(_) if entries.left > 0 => Err(left_over(entries.left)),
            result => result,
        }
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.named(Owner::structure(name), fields, visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Variant { from: self, name, variants })
    }
    #[cold]
    fn deserialize_identifier<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Fault> {
        Err(asked())
    }
    #[cold]
    fn deserialize_ignored_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Fault> {
        Err(asked())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cold]
fn asked() -> Fault {
    let text = "its type asks the format what comes next (serde's `untagged`, `tag` or `flatten`, or a type such as \
                `serde_json::Value`), which the default format does not say: ";
    Fault::new(Cause::Format, [text, super::REMEDY].concat())
}

#[cold]
fn left_over(elements: usize) -> Fault {
    Fault::new(Cause::Bytes, format!("{elements} elements that its type does not read"))
}
