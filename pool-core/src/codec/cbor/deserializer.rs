//! Reading CBOR (RFC 8949), within the limits that hold for every value.

use serde::de::{self, DeserializeSeed, Visitor};

use super::head;
use crate::codec::bounded::Limits;
use crate::codec::fault::{Cause, Fault};

type Names = &'static [&'static str];

/// Reads one value.
pub(super) struct Deserializer<'l, 'a> {
    pub(super) rest: &'a [u8],
    limits: &'l Limits,
}

/// The first byte of an item, and the number that it has with it.
struct Head {
    major: u8,
    /// `None` where the number of elements is told by their end.
    number: Option<u64>,
}

impl<'l, 'a> Deserializer<'l, 'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &'l Limits) -> Self {
        Deserializer { rest: bytes, limits }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault::truncated(length, self.rest.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.rest.split_first_chunk() {
            Some((&bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault::truncated(N, self.rest.len())),
        }
    }

    fn peek(&self) -> Result<u8, Fault> {
        self.rest.first().copied().ok_or_else(|| Fault::truncated(1, 0))
    }

    /// Takes the next byte if it is this one.
    fn takes(&mut self, byte: u8) -> Result<bool, Fault> {
        let is_there = self.peek()? == byte;
        if is_there {
            self.rest = &self.rest[1..];
        }
        Ok(is_there)
    }

    fn head(&mut self) -> Result<Head, Fault> {
        let [first] = self.array()?;
        let (major, info) = (first >> head::MAJOR_SHIFT, first & head::INFO_MASK);
        let number = match info {
            0..head::ONE_BYTE => Some(info.into()),
            head::ONE_BYTE => Some(u8::from_be_bytes(self.array()?).into()),
            head::TWO_BYTES => Some(u16::from_be_bytes(self.array()?).into()),
            head::FOUR_BYTES => Some(u32::from_be_bytes(self.array()?).into()),
            head::EIGHT_BYTES => Some(u64::from_be_bytes(self.array()?)),
            head::INDEFINITE => None,
            _ => return Err(unexpected(first, "an item")),
        };
        Ok(Head { major, number })
    }

    /// The head of an item of this kind, which must be of a known length.
    fn expect(&mut self, major: u8, expected: &str) -> Result<u64, Fault> {
        let first = self.peek()?;
        match self.head()? {
            Head { major: found, number: Some(number), .. } if found == major => Ok(number),
            _ => Err(unexpected(first, expected)),
        }
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        let length = self.expect(head::TEXT, "text")?;
        std::str::from_utf8(self.take(length)?).map_err(|error| Fault::new(Cause::Bytes, error.to_string()))
    }

    /// A whole number as its sign and what it is: `n`, or `-1 - n`.
    fn integer(&mut self) -> Result<(bool, u128), Fault> {
        let first = self.peek()?;
        let head = self.head()?;
        match (head.major, head.number) {
            (head::UNSIGNED, Some(number)) => Ok((false, number.into())),
            (head::NEGATIVE, Some(number)) => Ok((true, number.into())),
            (head::TAG, Some(tag @ (head::POSITIVE_TAG | head::NEGATIVE_TAG))) => {
                let length = self.expect(head::BYTES, "a number")?;
                let bytes = self.take(length)?;
                let mut number = [0; 16];
                let Some(padding) = number.len().checked_sub(bytes.len()) else {
                    return Err(Fault::new(Cause::Bytes, "a number of more than 128 bits"));
                };
                number[padding..].copy_from_slice(bytes);
                Ok((tag == head::NEGATIVE_TAG, u128::from_be_bytes(number)))
            }
            _ => Err(unexpected(first, "a whole number")),
        }
    }

    fn visit_integer<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        match self.integer()? {
            (false, number) => match u64::try_from(number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_u128(number),
            },
            (true, number) => match (i64::try_from(number), i128::try_from(number)) {
                (Ok(number), _) => visitor.visit_i64(!number),
                (_, Ok(number)) => visitor.visit_i128(!number),
                _ => Err(Fault::new(Cause::Bytes, "a number of more than 128 bits")),
            },
        }
    }

    fn float(&mut self) -> Result<Float, Fault> {
        match self.array()? {
            [head::F32] => Ok(Float::Single(f32::from_bits(u32::from_be_bytes(self.array()?)))),
            [head::F64] => Ok(Float::Double(f64::from_bits(u64::from_be_bytes(self.array()?)))),
            [first] => Err(unexpected(first, "a number with a fraction")),
        }
    }

    fn visit_float<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        match self.float()? {
            Float::Single(number) => visitor.visit_f32(number),
            Float::Double(number) => visitor.visit_f64(number),
        }
    }

    /// The elements of an array, or entries of a map.
    fn elements(&mut self, major: u8, expected: &str) -> Result<Option<usize>, Fault> {
        let first = self.peek()?;
        let head = self.head()?;
        if head.major != major {
            return Err(unexpected(first, expected));
        }
        match head.number {
            // Each takes a byte at least.
            Some(number) if number > self.rest.len() as u64 => {
                Err(Fault::truncated(usize::try_from(number).unwrap_or(usize::MAX), self.rest.len()))
            }
            number => Ok(number.map(|number| number as usize)),
        }
    }

    fn visit_seq<V: Visitor<'a>>(&mut self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let left = self.elements(head::ARRAY, "a sequence")?;
        let limits = self.limits;
        limits.nested(|| {
            let mut elements = Elements { from: self, left, name, key: None, read: 0 };
            let value = visitor.visit_seq(&mut elements);
            let value = elements.place(value)?;
            elements.complete()?;
            Ok(value)
        })
    }

    fn visit_map<V: Visitor<'a>>(&mut self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let left = self.elements(head::MAP, "a map")?;
        let limits = self.limits;
        limits.nested(|| {
            let mut entries = Elements { from: self, left, name, key: None, read: 0 };
            let value = visitor.visit_map(&mut entries);
            let value = entries.place(value)?;
            entries.complete()?;
            Ok(value)
        })
    }

    fn visit_some<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        let limits = self.limits;
        limits.nested(|| visitor.visit_some(self))
    }

    /// Takes the tag that says that what follows is within a `Some`.
    fn takes_some_tag(&mut self) -> Result<bool, Fault> {
        let before = self.rest;
        if self.peek()? >> head::MAJOR_SHIFT == head::TAG && self.head()?.number == Some(head::SOME_TAG) {
            return Ok(true);
        }
        self.rest = before;
        Ok(false)
    }
}

enum Float {
    Single(f32),
    Double(f64),
}

#[cold]
fn unexpected(first: u8, expected: &str) -> Fault {
    let found = match (first >> head::MAJOR_SHIFT, first) {
        (head::UNSIGNED | head::NEGATIVE, _) => "a whole number",
        (head::BYTES, _) => "bytes",
        (head::TEXT, _) => "text",
        (head::ARRAY, _) => "a sequence",
        (head::MAP, _) => "a map",
        (head::TAG, _) => "a tagged item",
        (_, head::FALSE | head::TRUE) => "a `bool`",
        (_, head::NULL) => "nothing",
        (_, head::F32 | head::F64) => "a number with a fraction",
        _ => "no item",
    };
    Fault::new(Cause::Bytes, format!("{found} where {expected} is expected"))
}

macro_rules! same {
    ($as:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.$as(visitor)
        }
    )*};
}

impl<'a> de::Deserializer<'a> for &mut Deserializer<'_, 'a> {
    type Error = Fault;

    same! {
        visit_integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16
        deserialize_i32 deserialize_i64
    }
    same!(visit_float: deserialize_f32 deserialize_f64);
    same!(deserialize_str: deserialize_string deserialize_char deserialize_identifier);
    same!(deserialize_bytes: deserialize_byte_buf);

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let first = self.peek()?;
        match first >> head::MAJOR_SHIFT {
            head::UNSIGNED | head::NEGATIVE => self.visit_integer(visitor),
            head::BYTES => self.deserialize_bytes(visitor),
            head::TEXT => self.deserialize_str(visitor),
            head::ARRAY => self.visit_seq("", visitor),
            head::MAP => self.visit_map("", visitor),
            head::TAG if self.takes_some_tag()? => self.visit_some(visitor),
            head::TAG => self.visit_integer(visitor),
            _ => match first {
                head::NULL => self.deserialize_unit(visitor),
                head::FALSE | head::TRUE => self.deserialize_bool(visitor),
                _ => self.visit_float(visitor),
            },
        }
    }
    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.array()? {
            [head::FALSE] => visitor.visit_bool(false),
            [head::TRUE] => visitor.visit_bool(true),
            [first] => Err(unexpected(first, "a `bool`")),
        }
    }
    fn deserialize_u128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.integer()? {
            (false, number) => visitor.visit_u128(number),
            (true, _) => Err(Fault::new(Cause::Bytes, "a number below zero where a `u128` is expected")),
        }
    }
    fn deserialize_i128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let (negative, number) = self.integer()?;
        match i128::try_from(number) {
            Ok(number) => visitor.visit_i128(if negative { !number } else { number }),
            Err(_) => Err(Fault::new(Cause::Bytes, "a number of more than 128 bits")),
        }
    }
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text()?)
    }
    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        // A type may write a sequence and read bytes.
        if self.peek()? >> head::MAJOR_SHIFT == head::ARRAY {
            return self.visit_seq("", visitor);
        }
        let length = self.expect(head::BYTES, "bytes")?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.takes(head::NULL)? {
            return visitor.visit_none();
        }
        // Without the tag it is a `Some` all the same.
        self.takes_some_tag()?;
        self.visit_some(visitor)
    }
    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.array()? {
            [head::NULL] => visitor.visit_unit(),
            [first] => Err(unexpected(first, "nothing")),
        }
    }
    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_seq("", visitor)
    }
    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.visit_seq("", visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_seq(name, visitor)
    }
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_map("", visitor)
    }
    fn deserialize_struct<V: Visitor<'a>>(self, name: &'static str, _: Names, visitor: V) -> Result<V::Value, Fault> {
        self.visit_map(name, visitor)
    }
    fn deserialize_enum<V: Visitor<'a>>(self, name: &'static str, _: Names, visitor: V) -> Result<V::Value, Fault> {
        let first = self.peek()?;
        let holds = match first >> head::MAJOR_SHIFT {
            head::TEXT => false,
            head::MAP if self.head()?.number == Some(1) => true,
            _ => return Err(unexpected(first, "a variant")),
        };
        let limits = self.limits;
        limits.nested(|| visitor.visit_enum(Variant { from: self, name, holds }))
    }
}

/// The elements of an array, or the entries of a map.
struct Elements<'s, 'l, 'a> {
    from: &'s mut Deserializer<'l, 'a>,
    left: Option<usize>,
    /// Of the struct, if it is one.
    name: &'static str,
    /// The field that is being read.
    key: Option<&'a str>,
    read: usize,
}

impl<'a> Elements<'_, '_, 'a> {
    fn is_over(&mut self) -> Result<bool, Fault> {
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
    fn complete(&mut self) -> Result<(), Fault> {
        match self.left {
            Some(0) => Ok(()),
            None if self.from.takes(head::BREAK)? => Ok(()),
            _ => Err(Fault::new(Cause::Bytes, "elements that its type does not read")),
        }
    }

    fn place<T>(&self, value: Result<T, Fault>) -> Result<T, Fault> {
        match (self.name, self.key) {
            ("", _) => value,
            // After the last field, or of the whole.
            (name, key) => value.map_err(|fault| fault.within(name, key.unwrap_or(""))),
        }
    }
}

impl<'a> de::SeqAccess<'a> for Elements<'_, '_, 'a> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.is_over()? {
            return Ok(None);
        }
        self.read += 1;
        seed.deserialize(&mut *self.from).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

impl<'a> de::MapAccess<'a> for Elements<'_, '_, 'a> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.is_over()? {
            self.key = None;
            return Ok(None);
        }
        self.read += 1;
        if !self.name.is_empty() {
            let before = self.from.rest;
            self.key = self.from.text().ok();
            self.from.rest = before;
        }
        seed.deserialize(&mut *self.from).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.from)
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

/// The choice of a variant, then what it holds.
struct Variant<'s, 'l, 'a> {
    from: &'s mut Deserializer<'l, 'a>,
    name: &'static str,
    holds: bool,
}

impl<'a> de::EnumAccess<'a> for Variant<'_, '_, 'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let value = seed.deserialize(&mut *self.from)?;
        Ok((value, self))
    }
}

impl Variant<'_, '_, '_> {
    fn holding(&self, holds: bool) -> Result<(), Fault> {
        if self.holds == holds {
            return Ok(());
        }
        let what = if holds { "nothing where the content" } else { "content where nothing" };
        Err(Fault::new(Cause::Bytes, format!("{what} of a variant of `{}` is expected", self.name)))
    }
}

impl<'a> de::VariantAccess<'a> for Variant<'_, '_, 'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.holding(false)
    }
    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Fault> {
        self.holding(true)?;
        seed.deserialize(self.from)
    }
    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.holding(true)?;
        self.from.visit_seq(self.name, visitor)
    }
    fn struct_variant<V: Visitor<'a>>(self, _: Names, visitor: V) -> Result<V::Value, Fault> {
        self.holding(true)?;
        self.from.visit_map(self.name, visitor)
    }
}
