//! What a value is given to read its parts: elements, entries, and the content of a variant.

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::deserializer::{Deserializer, Names};
use super::shape::{Owner, Shape};
use crate::codec::fault::{Cause, Fault};

/// Elements of which the number is known.
pub(super) struct Counted<'s, 'a> {
    pub(super) from: &'s mut Deserializer<'a>,
    pub(super) left: usize,
}

impl<'a> de::SeqAccess<'a> for Counted<'_, 'a> {
    type Error = Fault;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.from).map(Some)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'a> de::MapAccess<'a> for Counted<'_, 'a> {
    type Error = Fault;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.from)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The choice of a variant, then what it holds.
pub(super) struct Variant<'s, 'a> {
    pub(super) from: &'s mut Deserializer<'a>,
    pub(super) name: &'static str,
    pub(super) variants: Names,
}

impl<'s, 'a> de::EnumAccess<'a> for Variant<'s, 'a> {
    type Error = Fault;
    type Variant = Content<'s, 'a>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Content<'s, 'a>), Fault> {
        let index = self.from.variant(self.name, self.variants)?;
        let key = (self.name, self.variants);
        let asks = self.from.cold.as_ref().is_some_and(|cold| cold.enums.asks(key));
        let identifier: U32Deserializer<Fault> = if asks { u32::MAX } else { index }.into_deserializer();
        let value = seed.deserialize(identifier);
        if asks && let Some(cold) = &mut self.from.cold {
            cold.enums.answer(&value);
        }
        let value = value.map_err(|_| unknown_variant(self.name, index))?;
        let name = self.variants.get(index as usize).copied().unwrap_or(self.name);
        Ok((value, Content { from: self.from, owner: Owner::variant(self.name, index, name) }))
    }
}

#[cold]
fn unknown_variant(name: &str, index: u32) -> Fault {
    let text = format!("`{name}` has no variant of the number {index} to be read (is one of them skipped?)");
    Fault::new(Cause::Bytes, text)
}

/// What a variant holds.
pub(super) struct Content<'s, 'a> {
    from: &'s mut Deserializer<'a>,
    owner: Owner,
}

impl<'a> de::VariantAccess<'a> for Content<'_, 'a> {
    type Error = Fault;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Fault> {
        self.from.sum = self.from.sum.wrapping_add(Shape::NEWTYPE.total());
        seed.deserialize(self.from)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn tuple_variant<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.from.nameless(self.owner, length, visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn struct_variant<V: Visitor<'a>>(self, fields: Names, visitor: V) -> Result<V::Value, Fault> {
        self.from.named(self.owner, fields, visitor)
    }
}
