//! A JSON value in memory, from which text and bytes can be lent.

use std::fmt;
use std::slice;
use std::sync::LazyLock;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value, in 24 bytes: a line may have millions of them.
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
    Text(Box<str>),
    /// Whole numbers below 256. They are the bytes to be lent as such, and most arrays of small numbers take a 24th of the
    /// memory.
    Bytes(Box<[u8]>),
    /// All other values.
    Array(Box<[Json]>),
    /// Members, in their order.
    Object(Box<[(Box<str>, Json)]>),
}

/// The values of all bytes.
static BYTES: LazyLock<[Json; 256]> = LazyLock::new(|| std::array::from_fn(|byte| Json::Unsigned(byte as u64)));

impl Json {
    /// The kind of the value, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Unsigned(_) | Json::Signed(_) | Json::Float(_) => "a number",
            Json::Text(_) => "a string",
            Json::Bytes(_) | Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// Text as its UTF-8, and an array of numbers below 256 as that many bytes.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Json::Text(text) => Some(text.as_bytes()),
            Json::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<Elements<'_>> {
        match self {
            Json::Bytes(bytes) => Some(Elements::new(bytes, &[])),
            Json::Array(values) => Some(Elements::new(&[], values)),
            _ => None,
        }
    }
}

/// The elements of an array, of which one kind is empty.
#[derive(Clone, Debug)]
pub(super) struct Elements<'t> {
    bytes: slice::Iter<'t, u8>,
    values: slice::Iter<'t, Json>,
}

impl<'t> Elements<'t> {
    pub(super) fn new(bytes: &'t [u8], values: &'t [Json]) -> Self {
        Elements { bytes: bytes.iter(), values: values.iter() }
    }
}

impl<'t> Iterator for Elements<'t> {
    type Item = &'t Json;

    fn next(&mut self) -> Option<&'t Json> {
        let byte = self.bytes.next().map(|&byte| &BYTES[usize::from(byte)]);
        byte.or_else(|| self.values.next())
    }
}

impl ExactSizeIterator for Elements<'_> {
    fn len(&self) -> usize {
        self.bytes.len() + self.values.len()
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
        Ok(Json::Text(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        // Not by the size that the parser hints at: the bytes that come tell how many there are.
        let mut bytes = Vec::new();
        let first = loop {
            let value: Option<Json> = seq.next_element()?;
            match value {
                Some(Json::Unsigned(number @ ..256)) => bytes.push(number as u8),
                Some(value) => break value,
                None => return Ok(Json::Bytes(bytes.into())),
            }
        };
        let mut values: Vec<Json> = bytes.into_iter().map(|byte| Json::Unsigned(byte.into())).collect();
        values.push(first);
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        // In their order and with doubles, for the type to judge.
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members.into()))
    }
}
