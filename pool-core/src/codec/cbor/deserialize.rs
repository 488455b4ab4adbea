//! How serde reads CBOR (RFC 8949).

use serde::de::{self, Visitor};

use super::access::{Elements, Variant};
use super::deserializer::Deserializer;
use super::head;
use super::items::{Float, unexpected};
use super::watch::{Watched, doubt};
use crate::codec::confirm;
use crate::codec::error::{Cause, CodecError};
use crate::codec::trace::Place;
use crate::codec::type_identity;

type Names = &'static [&'static str];

impl<'a> Deserializer<'a> {
    fn visit_integer<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        match self.integer()? {
            // The narrowest call that holds the number: many visitors implement `visit_u64` and not `visit_u128`.
            (false, number) => match u64::try_from(number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_u128(number),
            },
            (true, number) => match (i64::try_from(number), i128::try_from(number)) {
                (Ok(number), _) => visitor.visit_i64(!number),
                (_, Ok(number)) => visitor.visit_i128(!number),
                _ => Err(CodecError::of(Cause::Bytes, "a number of more than 128 bits")),
            },
        }
    }

    fn visit_float<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        match self.float()? {
            Float::Single(number) => visitor.visit_f32(number),
            Float::Double(number) => visitor.visit_f64(number),
        }
    }

    /// The elements of a sequence, or the fields of a tuple.
    fn visit_seq<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        let left = self.elements(head::ARRAY, "a sequence")?;
        self.nested(|from| {
            from.note(Watched::open);
            let mut elements = Elements::new(from, left, "");
            let value = visitor.visit_seq(&mut elements)?;
            elements.complete()?;
            from.note(|watch, _| watch.trace.close_sequence());
            Ok(value)
        })
    }

    /// The fields of a tuple struct, or of a variant if that is not empty.
    pub(super) fn visit_tuple<V: Visitor<'a>>(
        &mut self,
        type_name: &'static str,
        variant: &str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let left = self.elements(head::ARRAY, "a sequence")?;
        self.nested(|from| {
            from.note(Watched::open);
            let mut fields = Elements::new(from, left, type_name);
            let value = visitor.visit_seq(&mut fields);
            let value = fields.place(value)?;
            fields.complete()?;
            // Where the fields fill the type, there is none beside those that are read.
            let is_open = fields.size < size_of::<V::Value>();
            let identity = type_identity::of::<V>();
            if is_open && !confirm::is_confirmed(identity) {
                from.doubts |= if confirm::is_refused(identity) { doubt::REFUSED } else { doubt::OPEN };
            }
            from.note(|watch, _| watch.close_fields(identity, Place::of(type_name, variant), is_open));
            Ok(value)
        })
    }

    pub(super) fn visit_map<V: Visitor<'a>>(&mut self, name: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        let left = self.elements(head::MAP, "a map")?;
        self.nested(|from| {
            from.note(Watched::open);
            let mut entries = Elements::new(from, left, name);
            let value = visitor.visit_map(&mut entries);
            let value = entries.place(value)?;
            entries.complete()?;
            from.note(|watch, _| watch.trace.close_sequence());
            Ok(value)
        })
    }

    fn visit_some<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        self.nested(|from| visitor.visit_some(from))
    }
}

macro_rules! same {
    ($as:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
            self.$as(visitor)
        }
    )*};
}

impl<'a> de::Deserializer<'a> for &mut Deserializer<'a> {
    type Error = CodecError;

    same! {
        visit_integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16
        deserialize_i32 deserialize_i64
    }
    same!(visit_float: deserialize_f32 deserialize_f64);
    same!(deserialize_str: deserialize_string deserialize_char deserialize_identifier);
    same!(deserialize_bytes: deserialize_byte_buf);

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let first = self.peek()?;
        match first >> head::MAJOR_SHIFT {
            head::UNSIGNED | head::NEGATIVE => self.visit_integer(visitor),
            head::BYTES => self.deserialize_bytes(visitor),
            head::TEXT => self.deserialize_str(visitor),
            head::ARRAY => {
                // The array may be a tuple struct, whether the reader asked for one or not.
                self.doubts |= doubt::UNTYPED;
                self.visit_seq(visitor)
            }
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
    // Read like any value: to skip it would need a second reader of the same bytes.
    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_any(visitor)
    }
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.array()? {
            [head::FALSE] => visitor.visit_bool(false),
            [head::TRUE] => visitor.visit_bool(true),
            [first] => Err(unexpected(first, "a `bool`")),
        }
    }
    fn deserialize_u128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.integer()? {
            (false, number) => visitor.visit_u128(number),
            (true, _) => Err(CodecError::of(Cause::Bytes, "a number below zero where a `u128` is expected")),
        }
    }
    fn deserialize_i128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let (negative, number) = self.integer()?;
        match i128::try_from(number) {
            Ok(number) => visitor.visit_i128(if negative { !number } else { number }),
            Err(_) => Err(CodecError::of(Cause::Bytes, "a number of more than 128 bits")),
        }
    }
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_str(self.text()?)
    }
    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        // A type may write a sequence and read bytes: serde's own `Vec<u8>` does the one, `serde_bytes` the other.
        if self.peek()? >> head::MAJOR_SHIFT == head::ARRAY {
            return self.visit_seq(visitor);
        }
        let length = self.expect(head::BYTES, "bytes")?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if self.takes(head::NULL)? {
            return visitor.visit_none();
        }
        // Without the tag it is a `Some` all the same.
        self.takes_some_tag()?;
        self.visit_some(visitor)
    }
    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.array()? {
            [head::NULL] => visitor.visit_unit(),
            [first] => Err(unexpected(first, "nothing")),
        }
    }
    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.visit_seq(visitor)
    }
    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.visit_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.visit_tuple(name, "", visitor)
    }
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.visit_map("", visitor)
    }
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        _: Names,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.visit_map(name, visitor)
    }
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        _: Names,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let first = self.peek()?;
        let holds = match first >> head::MAJOR_SHIFT {
            head::TEXT => false,
            head::MAP if self.head()?.number == Some(1) => true,
            _ => return Err(unexpected(first, "a variant")),
        };
        self.nested(|from| visitor.visit_enum(Variant { from, name, variant: "", holds }))
    }
}
