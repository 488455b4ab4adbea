//! Reads values out of a tree, in the forms in which `serde_json` writes them. Errors say where in the tree.

use std::slice;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::JsonError;
use super::key::Key;
use super::tree::{self, Json};

/// A value to be read.
pub(super) struct Value<'de>(pub(super) &'de Json);

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::Unsigned(value) => visitor.visit_u64(*value),
            Json::Signed(value) => visitor.visit_i64(*value),
            Json::Float(value) => visitor.visit_f64(*value),
            Json::Text(value) => visitor.visit_borrowed_str(value),
            Json::Bytes(bytes) => visit_array(tree::Elements::new(bytes, &[]), visitor),
            Json::Array(values) => visit_array(tree::Elements::new(&[], values), visitor),
            Json::Object(members) => visitor.visit_map(Members::new(members)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if matches!(self.0, Json::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0.bytes() {
            Some(bytes) => visitor.visit_borrowed_bytes(bytes),
            // The visitor has the words for a value of another kind.
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self.0 {
            Json::Text(name) => visitor.visit_enum(Variant { name, content: None }),
            // As `serde_json` writes a variant with a content.
            Json::Object(members) if members.len() == 1 => {
                visitor.visit_enum(Variant { name: &members[0].0, content: Some(&members[0].1) })
            }
            _ => Err(self.0.unexpected("the name of a variant, or an object with just that member")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

fn visit_array<'de, V: Visitor<'de>>(elements: tree::Elements<'de>, visitor: V) -> Result<V::Value, JsonError> {
    let mut elements = Elements { rest: elements, next: 0 };
    let value = visitor.visit_seq(&mut elements)?;
    // A tuple takes as many as it has, and would leave the rest in silence.
    match elements.rest.len() {
        0 => Ok(value),
        more => Err(JsonError::custom(format_args!("{more} elements too many"))),
    }
}

impl Json {
    fn unexpected(&self, expected: &'static str) -> JsonError {
        JsonError::invalid_type(Unexpected::Other(self.kind()), &expected)
    }
}

/// The elements of an array, and the index of the next one.
struct Elements<'de> {
    rest: tree::Elements<'de>,
    next: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'de> {
    type Error = JsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, JsonError> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(Value(value)).map(Some).map_err(|error| error.below(format_args!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The members of an object.
struct Members<'de> {
    rest: slice::Iter<'de, (Box<str>, Json)>,
    current: Option<&'de (Box<str>, Json)>,
}

impl<'de> Members<'de> {
    fn new(members: &'de [(Box<str>, Json)]) -> Self {
        Members { rest: members.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        self.current = self.rest.next();
        self.current.map(|(name, _)| seed.deserialize(Key(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, JsonError> {
        let Some((name, value)) = self.current.take() else {
            return Err(JsonError::custom("a value was asked for before its key"));
        };
        seed.deserialize(Value(value)).map_err(|error| error.below(format_args!(".{name}")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// A variant of an enum.
struct Variant<'de> {
    name: &'de str,
    content: Option<&'de Json>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = JsonError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), JsonError> {
        let variant: serde::de::value::StrDeserializer<'_, JsonError> = self.name.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> Variant<'de> {
    fn content(&self) -> Result<&'de Json, JsonError> {
        let missing =
            || JsonError::custom(format_args!("variant `{}` has a content: write it as an object", self.name));
        self.content.ok_or_else(missing)
    }

    fn within<T>(&self, result: Result<T, JsonError>) -> Result<T, JsonError> {
        result.map_err(|error| error.below(format_args!(".{}", self.name)))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = JsonError;

    fn unit_variant(self) -> Result<(), JsonError> {
        match self.content {
            None | Some(Json::Null) => Ok(()),
            Some(content) => self.within(Err(content.unexpected("null"))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, JsonError> {
        let content = self.content()?;
        self.within(seed.deserialize(Value(content)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, JsonError> {
        let content = self.content()?;
        self.within(Value(content).deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, JsonError> {
        let content = self.content()?;
        self.within(Value(content).deserialize_any(visitor))
    }
}
