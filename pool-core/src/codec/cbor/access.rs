//! Access to the parts of a value for its type: elements, entries, fields, and the content of a variant.

use serde::de::{self, DeserializeSeed, Visitor};

use super::deserializer::Deserializer;
use super::head;
use super::watch::Watched;
use crate::codec::error::{Cause, CodecError};

/// The elements of an array, or the entries of a map.
pub(super) struct Elements<'s, 'a> {
    from: &'s mut Deserializer<'a>,
    left: Option<usize>,
    /// The name of the struct or enum; empty for a sequence or map.
    name: &'static str,
    /// The field that is being read.
    key: Option<&'a str>,
    /// Bytes in memory of the elements that have been read.
    pub(super) size: usize,
}

impl<'s, 'a> Elements<'s, 'a> {
    /// The name is that of a struct or enum, or empty.
    pub(super) fn new(from: &'s mut Deserializer<'a>, left: Option<usize>, name: &'static str) -> Self {
        Elements { from, left, name, key: None, size: 0 }
    }

    fn is_over(&mut self) -> Result<bool, CodecError> {
        match &mut self.left {
            Some(0) => Ok(true),
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None if self.from.peek()? == head::BREAK => Ok(true),
            None => Ok(false),
        }
    }

    /// All has been read.
    pub(super) fn complete(&mut self) -> Result<(), CodecError> {
        match self.left {
            Some(0) => Ok(()),
            None if self.from.takes(head::BREAK)? => Ok(()),
            _ => Err(CodecError::of(Cause::Bytes, "elements that its type does not read")),
        }
    }

    pub(super) fn place<T>(&self, value: Result<T, CodecError>) -> Result<T, CodecError> {
        match (self.name, self.key) {
            ("", _) => value,
            // Without a key the error came after the last field, or is about the whole struct.
            (name, key) => value.map_err(|fault| fault.within(name, key.unwrap_or(""))),
        }
    }
}

impl<'a> de::SeqAccess<'a> for Elements<'_, 'a> {
    type Error = CodecError;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, CodecError> {
        if self.is_over()? {
            return Ok(None);
        }
        self.size += size_of::<S::Value>();
        let element = seed.deserialize(&mut *self.from)?;
        self.from.note(Watched::end_part);
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

impl<'a> de::MapAccess<'a> for Elements<'_, 'a> {
    type Error = CodecError;

    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, CodecError> {
        if self.is_over()? {
            self.key = None;
            return Ok(None);
        }
        // Only a struct's field is named in errors. Its name is read ahead, because the seed keeps the key to itself.
        if !self.name.is_empty() {
            let before = self.from.rest;
            self.key = self.from.text().ok();
            self.from.rest = before;
        }
        seed.deserialize(&mut *self.from).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, CodecError> {
        let value = seed.deserialize(&mut *self.from)?;
        self.from.note(Watched::end_part);
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

/// The choice of a variant, then its content.
pub(super) struct Variant<'s, 'a> {
    pub(super) from: &'s mut Deserializer<'a>,
    pub(super) name: &'static str,
    /// The variant's name, once that is known.
    pub(super) variant: &'a str,
    pub(super) holds: bool,
}

impl<'a> de::EnumAccess<'a> for Variant<'_, 'a> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self), CodecError> {
        let before = self.from.rest;
        let value = seed.deserialize(&mut *self.from)?;
        // The name is for the trace alone, so only a value that is read a second time pays for it.
        let is_watched = self.from.watch.is_some();
        let variant = if is_watched { Deserializer::new(before, None).text().unwrap_or_default() } else { "" };
        Ok((value, Variant { variant, ..self }))
    }
}

impl Variant<'_, '_> {
    fn holding(&self, holds: bool) -> Result<(), CodecError> {
        if self.holds == holds {
            return Ok(());
        }
        let found = if holds { "nothing where the content" } else { "content where nothing" };
        Err(CodecError::of(Cause::Bytes, format!("{found} of a variant of `{}` is expected", self.name)))
    }
}

impl<'a> de::VariantAccess<'a> for Variant<'_, 'a> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        self.holding(false)
    }
    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, CodecError> {
        self.holding(true)?;
        seed.deserialize(self.from)
    }
    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.holding(true)?;
        self.from.visit_tuple(self.name, self.variant, visitor)
    }
    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, CodecError> {
        self.holding(true)?;
        self.from.visit_map(self.name, visitor)
    }
}
