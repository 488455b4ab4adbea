//! Access to the parts of a value for its type: elements, entries, fields, and the content of a variant.

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::deserializer::Deserializer;
use super::enums::Names;
use super::shape::{Owner, Shape};
use super::watch::Watch;
use crate::codec::error::{Cause, CodecError};

/// The elements of a sequence, or the entries of a map.
pub(super) struct Elements<'s, 'a, W> {
    pub(super) from: &'s mut Deserializer<'a, W>,
    pub(super) left: usize,
}

impl<'a, W: Watch<'a>> Elements<'_, 'a, W> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, CodecError> {
        // Before the seed is entered, since the value is in its frame.
        self.from.reader.limits.check_room::<S::Value>()?;
        seed.deserialize(&mut *self.from)
    }
}

impl<'a, W: Watch<'a>> de::SeqAccess<'a> for Elements<'_, 'a, W> {
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, CodecError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let element = self.seed(seed).map(Some);
        self.from.watch.end_part(self.from.reader.rest);
        element
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        Some(self.from.reader.limits.hint(self.left))
    }
}

impl<'a, W: Watch<'a>> de::MapAccess<'a> for Elements<'_, 'a, W> {
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, CodecError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.seed(seed).map(Some)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, CodecError> {
        let value = self.seed(seed);
        self.from.watch.end_part(self.from.reader.rest);
        value
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        Some(self.from.reader.limits.hint(self.left))
    }
}

/// The fields of a struct, tuple struct, variant or tuple.
pub(super) struct Fields<'s, 'a, W> {
    pub(super) from: &'s mut Deserializer<'a, W>,
    pub(super) left: usize,
    /// Bytes in memory of the fields that have been read.
    pub(super) size: usize,
}

impl<'a, W: Watch<'a>> de::SeqAccess<'a> for Fields<'_, 'a, W> {
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, CodecError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        // Summed up to find out whether the fields fill the type, see `Deserializer::nameless`.
        self.size += size_of::<S::Value>();
        self.from.reader.limits.check_room::<S::Value>()?;
        let field = seed.deserialize(&mut *self.from).map(Some);
        self.from.watch.end_part(self.from.reader.rest);
        field
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        Some(self.from.reader.limits.hint(self.left))
    }
}

/// The choice of a variant, then its content.
pub(super) struct Variant<'s, 'a, W> {
    pub(super) from: &'s mut Deserializer<'a, W>,
    pub(super) name: &'static str,
    pub(super) variants: Names,
    pub(super) index: u32,
}

impl<'s, 'a, W: Watch<'a>> de::EnumAccess<'a> for Variant<'s, 'a, W> {
    type Error = CodecError;
    type Variant = Content<'s, 'a, W>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Content<'s, 'a, W>), CodecError> {
        let index = self.index;
        let asks = self.from.watch.asks((self.name, self.variants));
        // Serde tells the number of variants only in the error about an index that is too large.
        let identifier: U32Deserializer<CodecError> = if asks { u32::MAX } else { index }.into_deserializer();
        let value = seed.deserialize(identifier);
        if asks {
            self.from.watch.answer(&value);
        }
        let value = value.map_err(|_| unknown_variant(self.name, index))?;
        // The type took the index, so a list that is too short lacks skipped variants; the name is for errors alone.
        let name = self.variants.get(index as usize).copied().unwrap_or(self.name);
        Ok((value, Content { from: self.from, owner: Owner::variant(self.name, index, name) }))
    }
}

#[cold]
fn unknown_variant(name: &str, index: u32) -> CodecError {
    let text = format!("`{name}` has no variant of the number {index} to be read (is one of them skipped?)");
    CodecError::of(Cause::Bytes, text)
}

/// The content of a variant.
pub(super) struct Content<'s, 'a, W> {
    from: &'s mut Deserializer<'a, W>,
    owner: Owner,
}

impl<'a, W: Watch<'a>> de::VariantAccess<'a> for Content<'_, 'a, W> {
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, CodecError> {
        // A newtype variant adds to the sum, or it would pass for a unit variant with a value behind it.
        self.from.reader.limits.check_room::<S::Value>()?;
        self.from.reader.add(Shape::NEWTYPE.total());
        seed.deserialize(self.from)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn tuple_variant<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.from.nameless(self.owner, length, visitor)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn struct_variant<V: Visitor<'a>>(self, fields: Names, visitor: V) -> Result<V::Value, CodecError> {
        self.from.named(self.owner, fields, visitor)
    }
}
