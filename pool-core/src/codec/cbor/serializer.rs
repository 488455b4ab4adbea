//! Writing values as CBOR (RFC 8949).

use serde::ser::{self, Serialize};

use super::head;
use crate::attachments::scope::{MARK, Writing};
use crate::codec::encoder::Encoder;
use crate::codec::error::{Cause, CodecError};
use crate::codec::limits::write::WriteLimits;
use crate::codec::trace::{Place, Trace};

/// Writes one value.
pub(super) struct Serializer<'e, 'b> {
    out: &'e mut Encoder<'b>,
    pub(super) limits: WriteLimits,
    /// The value about to be written is the content of a `Some`.
    some: bool,
    /// There are fields without names in the value.
    pub(super) has_tuples: bool,
    /// Notes of the parts that have been written, if these are asked for.
    pub(super) trace: Option<Trace>,
}

impl<'e, 'b> Serializer<'e, 'b> {
    pub(super) fn new(out: &'e mut Encoder<'b>, trace: Option<Trace>) -> Self {
        Serializer { out, limits: WriteLimits::new(), some: false, has_tuples: false, trace }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        // Before the bytes are there: a value that never ends would take all memory first.
        self.limits.check(self.out.written_bytes(), bytes.len())?;
        self.out.put(bytes);
        Ok(())
    }

    fn note(&mut self, note: impl FnOnce(&mut Trace, &[u8])) {
        if let Some(trace) = &mut self.trace {
            note(trace, self.out.written());
        }
    }

    /// Goes one level deeper for `body`.
    fn nested(&mut self, body: impl FnOnce(&mut Self) -> Result<(), CodecError>) -> Result<(), CodecError> {
        self.limits.nesting.enter()?;
        body(self)?;
        self.limits.nesting.leave();
        Ok(())
    }

    /// The first bytes of an item: its kind, and a number in as few bytes as it takes.
    fn head(&mut self, major: u8, number: u64) -> Result<(), CodecError> {
        // Any item ends the state of being right within a `Some`.
        self.some = false;
        let mut bytes = [0; 9];
        let length = match number {
            0..=23 => {
                bytes[0] = number as u8;
                1
            }
            24..=0xff => fill(&mut bytes, head::ONE_BYTE, &(number as u8).to_be_bytes()),
            0x100..=0xffff => fill(&mut bytes, head::TWO_BYTES, &(number as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => fill(&mut bytes, head::FOUR_BYTES, &(number as u32).to_be_bytes()),
            _ => fill(&mut bytes, head::EIGHT_BYTES, &number.to_be_bytes()),
        };
        bytes[0] |= major << head::MAJOR_SHIFT;
        self.put(&bytes[..length])
    }

    fn byte(&mut self, byte: u8) -> Result<(), CodecError> {
        self.some = false;
        self.put(&[byte])
    }

    /// `None` and `()`. Within a `Some` they get a tag, or they could not be told from the `None` around them.
    fn null(&mut self) -> Result<(), CodecError> {
        if self.some {
            self.head(head::TAG, head::SOME_TAG)?;
        }
        self.byte(head::NULL)
    }

    fn text(&mut self, text: &str) -> Result<(), CodecError> {
        self.head(head::TEXT, text.len() as u64)?;
        self.put(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.head(head::BYTES, bytes.len() as u64)?;
        self.put(bytes)
    }

    /// A number that 64 bits do not hold.
    fn bignum(&mut self, tag: u64, number: u128) -> Result<(), CodecError> {
        let bytes = number.to_be_bytes();
        // Without leading zeros, as the RFC asks.
        self.head(head::TAG, tag)?;
        self.bytes(&bytes[number.leading_zeros() as usize / 8..])
    }

    /// A map of one entry: the variant's name and its content.
    fn variant(&mut self, variant: &str) -> Result<(), CodecError> {
        self.head(head::MAP, 1)?;
        self.text(variant)
    }
}

fn fill(bytes: &mut [u8; 9], size: u8, number: &[u8]) -> usize {
    bytes[0] = size;
    bytes[1..=number.len()].copy_from_slice(number);
    1 + number.len()
}

/// Elements, entries or fields, which must be as many as were announced.
pub(super) struct Elements<'s, 'e, 'b> {
    to: &'s mut Serializer<'e, 'b>,
    /// The name of a struct or enum.
    type_name: &'static str,
    variant: &'static str,
    announced: Option<usize>,
    written: usize,
    kind: Kind,
    /// Bytes before the element or entry.
    start: usize,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    /// A sequence or map: a level of nesting, with elements that may take no bytes.
    Sequence,
    /// A struct or tuple.
    Fields,
    /// A tuple struct.
    Tuple,
    /// A variant of named fields, which is a level of nesting.
    Variant,
    /// A variant of fields without names, which is one, too.
    TupleVariant,
}

impl Kind {
    fn is_tuple(self) -> bool {
        matches!(self, Kind::Tuple | Kind::TupleVariant)
    }

    fn is_nested(self) -> bool {
        !matches!(self, Kind::Fields | Kind::Tuple)
    }
}

macro_rules! unsigned {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, number: $type) -> Result<(), CodecError> {
            self.head(head::UNSIGNED, number.into())
        }
    )*};
}

macro_rules! signed {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, number: $type) -> Result<(), CodecError> {
            self.serialize_i64(number.into())
        }
    )*};
}

impl<'s, 'e, 'b> ser::Serializer for &'s mut Serializer<'e, 'b> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'s, 'e, 'b>;
    type SerializeTuple = Elements<'s, 'e, 'b>;
    type SerializeTupleStruct = Elements<'s, 'e, 'b>;
    type SerializeTupleVariant = Elements<'s, 'e, 'b>;
    type SerializeMap = Elements<'s, 'e, 'b>;
    type SerializeStruct = Elements<'s, 'e, 'b>;
    type SerializeStructVariant = Elements<'s, 'e, 'b>;

    unsigned!(serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64));
    signed!(serialize_i8(i8) serialize_i16(i16) serialize_i32(i32));

    fn serialize_i64(self, number: i64) -> Result<(), CodecError> {
        // The RFC stores -1 - n, so that no number has two forms; that is the complement.
        if number >= 0 { self.head(head::UNSIGNED, number as u64) } else { self.head(head::NEGATIVE, !number as u64) }
    }
    fn serialize_u128(self, number: u128) -> Result<(), CodecError> {
        match u64::try_from(number) {
            Ok(number) => self.head(head::UNSIGNED, number),
            Err(_) => self.bignum(head::POSITIVE_TAG, number),
        }
    }
    fn serialize_i128(self, number: i128) -> Result<(), CodecError> {
        if number >= 0 {
            return self.serialize_u128(number as u128);
        }
        match u64::try_from(!number) {
            Ok(number) => self.head(head::NEGATIVE, number),
            Err(_) => self.bignum(head::NEGATIVE_TAG, !number as u128),
        }
    }
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.byte(if value { head::TRUE } else { head::FALSE })
    }
    // Numbers with a fraction are never made shorter, so that a NaN keeps its bits.
    fn serialize_f32(self, number: f32) -> Result<(), CodecError> {
        self.byte(head::F32)?;
        self.put(&number.to_bits().to_be_bytes())
    }
    fn serialize_f64(self, number: f64) -> Result<(), CodecError> {
        self.byte(head::F64)?;
        self.put(&number.to_bits().to_be_bytes())
    }
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, text: &str) -> Result<(), CodecError> {
        self.text(text)
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CodecError> {
        self.bytes(bytes)
    }
    fn serialize_none(self) -> Result<(), CodecError> {
        self.null()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        if self.some {
            // The outer one of `Some(Some(x))` gets the tag, because `x` may turn out to be null.
            self.head(head::TAG, head::SOME_TAG)?;
        }
        self.some = true;
        self.nested(|to| value.serialize(to))
    }
    fn serialize_unit(self) -> Result<(), CodecError> {
        self.null()
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        self.null()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), CodecError> {
        // A level, though it holds nothing: the reader cannot tell it from a variant with content before it has read it.
        self.nested(|to| to.text(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), CodecError> {
        if name == MARK {
            let writing = Writing::begin(self.out.side());
            value.serialize(&mut *self)?;
            return self.out.attach(writing.finish());
        }
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.nested(|to| {
            to.variant(variant)?;
            value.serialize(to)
        })
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, CodecError> {
        self.elements(Kind::Sequence, "", "", head::ARRAY, length)
    }
    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, CodecError> {
        self.elements(Kind::Fields, "", "", head::ARRAY, Some(length))
    }
    fn serialize_tuple_struct(self, name: &'static str, length: usize) -> Result<Elements<'s, 'e, 'b>, CodecError> {
        self.elements(Kind::Tuple, name, "", head::ARRAY, Some(length))
    }
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Elements<'s, 'e, 'b>, CodecError> {
        self.variant(variant)?;
        self.elements(Kind::TupleVariant, name, variant, head::ARRAY, Some(length))
    }
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, CodecError> {
        self.elements(Kind::Sequence, "", "", head::MAP, length)
    }
    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Elements<'s, 'e, 'b>, CodecError> {
        self.elements(Kind::Fields, name, "", head::MAP, Some(length))
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Elements<'s, 'e, 'b>, CodecError> {
        self.variant(variant)?;
        self.elements(Kind::Variant, name, variant, head::MAP, Some(length))
    }
}

impl<'e, 'b> Serializer<'e, 'b> {
    fn elements(
        &mut self,
        kind: Kind,
        type_name: &'static str,
        variant: &'static str,
        major: u8,
        announced: Option<usize>,
    ) -> Result<Elements<'_, 'e, 'b>, CodecError> {
        if kind.is_nested() {
            self.limits.nesting.enter()?;
        }
        match announced {
            Some(length) => self.head(major, length as u64)?,
            // A type that cannot count its elements beforehand (serde's `flatten`) ends them by a byte.
            None => self.byte(major << head::MAJOR_SHIFT | head::INDEFINITE)?,
        }
        self.has_tuples |= kind.is_tuple();
        self.note(Trace::open);
        Ok(Elements { to: self, type_name, variant, announced, written: 0, kind, start: 0 })
    }
}

impl Elements<'_, '_, '_> {
    /// The name in errors.
    fn name(&self) -> &'static str {
        if self.variant.is_empty() { self.type_name } else { self.variant }
    }

    /// An element, or an entry's key.
    fn begin<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.written += 1;
        self.start = self.to.out.written_bytes();
        let (name, place) = (self.name(), self.written - 1);
        let result = value.serialize(&mut *self.to);
        if name.is_empty() { result } else { result.map_err(|fault| fault.within(name, place)) }
    }

    fn end_element(&mut self) -> Result<(), CodecError> {
        self.to.note(Trace::end_part);
        let end = self.to.out.written_bytes();
        if self.kind == Kind::Sequence { self.to.limits.end_element(self.start, end) } else { Ok(()) }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.begin(value)?;
        self.end_element()
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CodecError> {
        self.written += 1;
        self.to.text(key)?;
        value.serialize(&mut *self.to).map_err(|fault| fault.within(self.name(), key))?;
        self.end_element()
    }

    fn complete(self) -> Result<(), CodecError> {
        match self.announced {
            None => self.to.byte(head::BREAK)?,
            Some(announced) if announced == self.written => {}
            Some(announced) => {
                let text = format!("its type announces {announced} elements and writes {}", self.written);
                return Err(CodecError::of(Cause::Format, text));
            }
        }
        if self.kind.is_nested() {
            self.to.limits.nesting.leave();
        }
        self.to.note(|trace, _| match self.kind.is_tuple() {
            true => trace.close_fields(None, Place::of(self.type_name, self.variant)),
            false => trace.close_sequence(),
        });
        Ok(())
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident;)*) => {$(
        impl ser::$trait for Elements<'_, '_, '_> {
            type Ok = ();
            type Error = CodecError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.element(value)
            }
            fn end(self) -> Result<(), CodecError> {
                self.complete()
            }
        }
    )*};
}
elements! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Elements<'_, '_, '_> {
            type Ok = ();
            type Error = CodecError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CodecError> {
                self.field(key, value)
            }
            fn end(self) -> Result<(), CodecError> {
                self.complete()
            }
        }
    )*};
}
fields!(SerializeStruct SerializeStructVariant);

impl ser::SerializeMap for Elements<'_, '_, '_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.begin(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        value.serialize(&mut *self.to)?;
        self.end_element()
    }
    fn end(self) -> Result<(), CodecError> {
        self.complete()
    }
}
