//! A JSON value in memory, from which text and bytes can be lent.

use std::cell::OnceCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number from 0.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// Text, without its escapes.
    Text(String),
    /// Values, and the same as bytes once they have been lent as such.
    Array(Vec<Json>, OnceCell<Vec<u8>>),
    /// Members, in their order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The kind of the value, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Unsigned(_) | Json::Signed(_) | Json::Float(_) => "a number",
            Json::Text(_) => "a string",
            Json::Array(..) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// Text as its UTF-8, and an array of numbers below 256 as that many bytes.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let Json::Array(values, bytes) = self else {
            return if let Json::Text(text) = self { Some(text.as_bytes()) } else { None };
        };
        // Kept in the tree, since they are lent for as long as it lives.
        if bytes.get().is_none() {
            let byte =
                |value: &Json| if let Json::Unsigned(number) = value { u8::try_from(*number).ok() } else { None };
            let converted = values.iter().map(byte).collect::<Option<Vec<u8>>>()?;
            return Some(bytes.get_or_init(|| converted));
        }
        bytes.get().map(Vec::as_slice)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        // One form for each number, whichever way the parser gives it.
        Ok(u64::try_from(value).map_or(Json::Signed(value), Json::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        // Not by the size that the parser hints at: the bytes that come tell how many there are.
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values, OnceCell::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        // In their order and with doubles, for the type to judge.
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
