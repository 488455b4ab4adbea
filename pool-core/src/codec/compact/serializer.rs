//! Writing values: the bytes are those of postcard.

use serde::ser::{self, Serialize};

use super::advice::REMEDY;
use super::noting::{Notes, Noting};
use super::shape::{Owner, Shape};
use super::varint;
use crate::codec::encoder::Encoder;
use crate::codec::error::{Cause, CodecError};
use crate::codec::limits::write::WriteLimits;

/// Writes one value, and sums up its shape.
pub(super) struct Serializer<'e, 'b, N> {
    out: &'e mut Encoder<'b>,
    pub(super) limits: WriteLimits,
    pub(super) sum: u64,
    pub(super) noting: N,
}

impl<'e, 'b, N: Noting> Serializer<'e, 'b, N> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(out: &'e mut Encoder<'b>, noting: N) -> Self {
        Serializer { out, limits: WriteLimits::new(), sum: 0, noting }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn note(&mut self, note: impl FnOnce(&mut Notes, &[u8])) {
        if let Some(notes) = self.noting.notes() {
            note(notes, self.out.written());
        }
    }

    /// The choice of a variant, which is a level of nesting.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant(&mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), CodecError> {
        self.limits.nesting.enter()?;
        // By the name, not the index: a skipped variant shifts the indices on one side only.
        self.sum = self.sum.wrapping_add(Shape::VARIANT.name(variant).total());
        self.note(|notes, _| notes.log.variant(name, variant));
        varint::put(index.into(), self.out);
        Ok(())
    }

    /// The value of a field or element, with all that is nested in it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        value.serialize(&mut *self)?;
        self.note(|notes, written| notes.trace.end_part(written));
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn fields(&mut self, owner: Owner, shape: Shape) -> Fields<'_, 'e, 'b, N> {
        self.note(|notes, written| notes.trace.open(written));
        Fields { to: self, owner, shape: shape.of(owner), written: 0, keys: N::Keys::default() }
    }
}

/// Text or bytes behind their length. One function for all types.
#[inline(never)]
fn put_bytes(bytes: &[u8], out: &mut Encoder<'_>, limits: &mut WriteLimits) -> Result<(), CodecError> {
    limits.check(out.written_bytes(), bytes.len())?;
    varint::put(bytes.len() as u64, out);
    out.put(bytes);
    Ok(())
}

/// The elements of a sequence or map, which must be as many as were announced.
pub(super) struct Elements<'s, 'e, 'b, N: Noting> {
    to: &'s mut Serializer<'e, 'b, N>,
    announced: usize,
    written: usize,
    /// Bytes before the element or entry.
    start: usize,
}

/// The fields of a struct or variant.
pub(super) struct Fields<'s, 'e, 'b, N: Noting> {
    to: &'s mut Serializer<'e, 'b, N>,
    owner: Owner,
    shape: Shape,
    written: usize,
    /// The names of the fields so far, if these are noted.
    keys: N::Keys,
}

macro_rules! numbers {
    ($($method:ident($type:ty) $($zigzag:ident)?;)*) => {$(
        #[cfg_attr(not(debug_assertions), inline(always))]
        fn $method(self, number: $type) -> Result<(), CodecError> {
            $(let number = $zigzag(number.into());)?
            varint::put(number.into(), self.out);
            Ok(())
        }
    )*};
}

/// Small numbers of either sign become small numbers.
#[cfg_attr(not(debug_assertions), inline(always))]
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

impl<'s, 'e, 'b, N: Noting> ser::Serializer for &'s mut Serializer<'e, 'b, N> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'s, 'e, 'b, N>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Fields<'s, 'e, 'b, N>;
    type SerializeTupleVariant = Fields<'s, 'e, 'b, N>;
    type SerializeMap = Elements<'s, 'e, 'b, N>;
    type SerializeStruct = Fields<'s, 'e, 'b, N>;
    type SerializeStructVariant = Fields<'s, 'e, 'b, N>;

    numbers! {
        serialize_i16(i16) zigzag;
        serialize_i32(i32) zigzag;
        serialize_i64(i64) zigzag;
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.out.put_array([value.into()]);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_i8(self, number: i8) -> Result<(), CodecError> {
        self.out.put_array(number.to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_u8(self, number: u8) -> Result<(), CodecError> {
        self.out.put_array([number]);
        Ok(())
    }
    fn serialize_i128(self, number: i128) -> Result<(), CodecError> {
        varint::put_long(((number << 1) ^ (number >> 127)) as u128, self.out);
        Ok(())
    }
    fn serialize_u128(self, number: u128) -> Result<(), CodecError> {
        varint::put_long(number, self.out);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f32(self, number: f32) -> Result<(), CodecError> {
        self.out.put_array(number.to_bits().to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f64(self, number: f64) -> Result<(), CodecError> {
        self.out.put_array(number.to_bits().to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_str(self, text: &str) -> Result<(), CodecError> {
        self.serialize_bytes(text.as_bytes())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CodecError> {
        put_bytes(bytes, self.out, &mut self.limits)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.out.put_array([0]);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.limits.nesting.enter()?;
        self.out.put_array([1]);
        value.serialize(&mut *self)?;
        self.limits.nesting.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<(), CodecError> {
        self.variant(name, index, variant)?;
        self.limits.nesting.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), CodecError> {
        value.serialize(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.variant(name, index, variant)?;
        self.sum = self.sum.wrapping_add(Shape::NEWTYPE.total());
        value.serialize(&mut *self)?;
        self.limits.nesting.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, CodecError> {
        // The number stands in front of the elements in a varint, so it cannot be filled in later.
        let announced = length.ok_or_else(unknown_length)?;
        self.limits.nesting.enter()?;
        varint::put(announced as u64, self.out);
        self.note(|notes, written| notes.trace.open(written));
        let start = self.out.written_bytes();
        Ok(Elements { to: self, announced, written: 0, start })
    }
    // A tuple's fields are counted beforehand, so its total is a constant and no state is kept while they are written.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple(self, length: usize) -> Result<Self, CodecError> {
        self.sum = self.sum.wrapping_add(Shape::TUPLE.of(Owner::TUPLE).nameless(length).total());
        self.note(|notes, written| {
            notes.log.written(Owner::TUPLE, Vec::new(), length);
            notes.trace.open(written);
        });
        Ok(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        Ok(self.fields(Owner::structure(name), Shape::TUPLE))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        self.variant(name, index, variant)?;
        Ok(self.fields(Owner::variant(name, index, variant), Shape::TUPLE))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, CodecError> {
        self.serialize_seq(length)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        Ok(self.fields(Owner::structure(name), Shape::NAMED))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'e, 'b, N>, CodecError> {
        self.variant(name, index, variant)?;
        Ok(self.fields(Owner::variant(name, index, variant), Shape::NAMED))
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        // Written out first, since its length stands before it.
        self.serialize_str(&value.to_string())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cold]
fn unknown_length() -> CodecError {
    let text = "its type writes elements without saying how many (serde's `flatten`, or an iterator), which the default \
                format cannot: ";
    CodecError::of(Cause::Format, [text, REMEDY].concat())
}

impl<N: Noting> Elements<'_, '_, '_, N> {
    /// An element, or an entry's key.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn begin<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.written += 1;
        self.start = self.to.out.written_bytes();
        value.serialize(&mut *self.to)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end_element(&mut self) -> Result<(), CodecError> {
        self.to.note(|notes, written| notes.trace.end_part(written));
        self.to.limits.end_element(self.start, self.to.out.written_bytes())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self) -> Result<(), CodecError> {
        self.to.note(|notes, _| notes.trace.close_sequence());
        self.to.limits.nesting.leave();
        // A sequence of another length would be read into the value behind it.
        // The reader goes by the number announced, and would take other bytes for elements.
        if self.written == self.announced { Ok(()) } else { Err(miscounted(self.announced, self.written)) }
    }
}

#[cold]
fn miscounted(announced: usize, written: usize) -> CodecError {
    CodecError::of(Cause::Format, format!("its type announces {announced} elements and writes {written}"))
}

impl<N: Noting> ser::SerializeSeq for Elements<'_, '_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.begin(value)?;
        self.end_element()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        self.complete()
    }
}

impl<N: Noting> ser::SerializeMap for Elements<'_, '_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.begin(key)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        value.serialize(&mut *self.to)?;
        self.end_element()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        self.complete()
    }
}

impl<N: Noting> ser::SerializeTuple for &mut Serializer<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.part(value)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        self.note(|notes, _| notes.trace.close_fields(None, Owner::TUPLE.place()));
        Ok(())
    }
}

impl<N: Noting> Fields<'_, '_, '_, N> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn named<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CodecError> {
        self.shape = self.shape.name(key);
        N::add_key(&mut self.keys, key);
        self.written += 1;
        let result = self.to.part(value);
        // Not `map_err`: its closure would take addresses, and so keep the fields in memory.
        if let Err(fault) = result { Err(fault.within_named(self.owner.name(), key)) } else { Ok(()) }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn nameless<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.written += 1;
        let result = self.to.part(value);
        if let Err(fault) = result { Err(fault.within_numbered(self.owner.name(), self.written - 1)) } else { Ok(()) }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, shape: Shape) -> Result<(), CodecError> {
        self.to.sum = self.to.sum.wrapping_add(shape.total());
        // A struct is no level of nesting; the level of a variant began with its choice.
        if self.owner.variant.is_some() {
            self.to.limits.nesting.leave();
        }
        self.to.note(|notes, _| {
            notes.log.written(self.owner, N::list(self.keys), self.written);
            notes.trace.close_fields(None, self.owner.place());
        });
        Ok(())
    }

    #[cold]
    fn skipped(&self, key: &'static str) -> CodecError {
        let text = "the field is left out (serde's `skip_serializing_if`), and the default format has no field names to \
                    tell so: remove the attribute, or ";
        CodecError::of(Cause::Format, [text, REMEDY].concat()).within(self.owner.name(), key)
    }
}

macro_rules! tuples {
    ($($trait:ident)*) => {$(
        impl<N: Noting> ser::$trait for Fields<'_, '_, '_, N> {
            type Ok = ();
            type Error = CodecError;

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.nameless(value)
            }
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn end(self) -> Result<(), CodecError> {
                let shape = self.shape.nameless(self.written);
                self.complete(shape)
            }
        }
    )*};
}
tuples!(SerializeTupleStruct SerializeTupleVariant);

macro_rules! structs {
    ($($trait:ident)*) => {$(
        impl<N: Noting> ser::$trait for Fields<'_, '_, '_, N> {
            type Ok = ();
            type Error = CodecError;

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CodecError> {
                self.named(key, value)
            }
            // Serde's default does nothing, and the next field would be read in place of this one.
            fn skip_field(&mut self, key: &'static str) -> Result<(), CodecError> {
                Err(self.skipped(key))
            }
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn end(self) -> Result<(), CodecError> {
                let shape = self.shape;
                self.complete(shape)
            }
        }
    )*};
}
structs!(SerializeStruct SerializeStructVariant);
