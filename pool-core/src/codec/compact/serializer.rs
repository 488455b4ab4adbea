//! Writing values: the bytes are those of postcard.

use serde::ser::{self, Serialize};

use super::log::Log;
use super::shape::{Owner, Shape};
use crate::codec::encoder::Encoder;
use crate::codec::fault::{Cause, Fault};
use crate::codec::limits::WriteLimits;
use crate::codec::trace::Trace;

/// Writes one value, and sums up its shape.
pub(super) struct Serializer<'e, 'b, const LOG: bool> {
    out: &'e mut Encoder<'b>,
    pub(super) limits: WriteLimits,
    pub(super) sum: u64,
    /// What has been written, if `LOG`.
    pub(super) notes: Option<Box<Notes>>,
}

/// What a comparison needs to know of a value that has been written.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) log: Log,
    pub(super) trace: Trace,
}

impl<'e, 'b, const LOG: bool> Serializer<'e, 'b, LOG> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(out: &'e mut Encoder<'b>) -> Self {
        let notes = LOG.then(|| Box::new(Notes { log: Log::default(), trace: Trace::new() }));
        Serializer { out, limits: WriteLimits::new(), sum: 0, notes }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn note(&mut self, note: impl FnOnce(&mut Notes, &[u8])) {
        if let (true, Some(notes)) = (LOG, &mut self.notes) {
            note(notes, self.out.written());
        }
    }

    /// A number in groups of seven bits, the least first; the high bit says that more follow.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn varint(&mut self, number: u64) {
        let mut bytes = [0; 10];
        let mut rest = number;
        let mut length = 0;
        while rest > 0x7f {
            bytes[length] = rest as u8 | 0x80;
            rest >>= 7;
            length += 1;
        }
        bytes[length] = rest as u8;
        self.fixed(&bytes[..=length]);
    }

    fn long_varint(&mut self, number: u128) {
        let mut bytes = [0; 19];
        let mut rest = number;
        let mut length = 0;
        while rest > 0x7f {
            bytes[length] = rest as u8 | 0x80;
            rest >>= 7;
            length += 1;
        }
        bytes[length] = rest as u8;
        self.fixed(&bytes[..=length]);
    }

    /// Bytes of a number that is known to be small.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn fixed(&mut self, bytes: &[u8]) {
        self.limits.count(bytes.len());
        self.out.put(bytes);
    }

    /// The choice of a variant, which is a level of nesting.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant(&mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), Fault> {
        self.limits.enter::<Fault>()?;
        self.sum = self.sum.wrapping_add(Shape::VARIANT.name(variant).total());
        self.note(|notes, _| notes.log.variant(name, variant));
        self.varint(index.into());
        Ok(())
    }

    /// The value of a field or element, or what is nested in it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut *self)?;
        self.note(|notes, written| notes.trace.end_part(written));
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn fields(&mut self, owner: Owner, shape: Shape) -> Fields<'_, 'e, 'b, LOG> {
        self.note(|notes, written| notes.trace.open(written));
        Fields { to: self, owner, shape: shape.of(owner), written: 0, keys: Vec::new() }
    }
}

/// The elements of a sequence or map, which must be as many as were announced.
pub(crate) struct Elements<'s, 'e, 'b, const LOG: bool> {
    to: &'s mut Serializer<'e, 'b, LOG>,
    announced: usize,
    written: usize,
    /// Bytes before the element or entry.
    start: usize,
}

/// The fields of a struct or variant.
pub(crate) struct Fields<'s, 'e, 'b, const LOG: bool> {
    to: &'s mut Serializer<'e, 'b, LOG>,
    owner: Owner,
    shape: Shape,
    written: usize,
    /// Their names, if they have any, and if `LOG`.
    keys: Vec<&'static str>,
}

macro_rules! numbers {
    ($($method:ident($type:ty) $($zigzag:ident)?;)*) => {$(
        #[cfg_attr(not(debug_assertions), inline(always))]
        fn $method(self, number: $type) -> Result<(), Fault> {
            $(let number = $zigzag(number.into());)?
            self.varint(number.into());
            Ok(())
        }
    )*};
}

/// Small numbers of either sign become small numbers.
#[cfg_attr(not(debug_assertions), inline(always))]
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

impl<'s, 'e, 'b, const LOG: bool> ser::Serializer for &'s mut Serializer<'e, 'b, LOG> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Elements<'s, 'e, 'b, LOG>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Fields<'s, 'e, 'b, LOG>;
    type SerializeTupleVariant = Fields<'s, 'e, 'b, LOG>;
    type SerializeMap = Elements<'s, 'e, 'b, LOG>;
    type SerializeStruct = Fields<'s, 'e, 'b, LOG>;
    type SerializeStructVariant = Fields<'s, 'e, 'b, LOG>;

    numbers! {
        serialize_i16(i16) zigzag;
        serialize_i32(i32) zigzag;
        serialize_i64(i64) zigzag;
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.fixed(&[value.into()]);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_i8(self, number: i8) -> Result<(), Fault> {
        self.fixed(&number.to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_u8(self, number: u8) -> Result<(), Fault> {
        self.fixed(&[number]);
        Ok(())
    }
    fn serialize_i128(self, number: i128) -> Result<(), Fault> {
        self.long_varint(((number << 1) ^ (number >> 127)) as u128);
        Ok(())
    }
    fn serialize_u128(self, number: u128) -> Result<(), Fault> {
        self.long_varint(number);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f32(self, number: f32) -> Result<(), Fault> {
        self.fixed(&number.to_bits().to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f64(self, number: f64) -> Result<(), Fault> {
        self.fixed(&number.to_bits().to_le_bytes());
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_str(self, text: &str) -> Result<(), Fault> {
        self.serialize_bytes(text.as_bytes())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        self.limits.check::<Fault>(bytes.len())?;
        self.varint(bytes.len() as u64);
        self.fixed(bytes);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_none(self) -> Result<(), Fault> {
        self.fixed(&[0]);
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.limits.enter::<Fault>()?;
        self.fixed(&[1]);
        value.serialize(&mut *self)?;
        self.limits.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<(), Fault> {
        self.variant(name, index, variant)?;
        self.limits.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.variant(name, index, variant)?;
        self.sum = self.sum.wrapping_add(Shape::NEWTYPE.total());
        value.serialize(&mut *self)?;
        self.limits.leave();
        Ok(())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, Fault> {
        let announced = length.ok_or_else(unknown_length)?;
        self.limits.enter::<Fault>()?;
        self.varint(announced as u64);
        self.note(|notes, written| notes.trace.open(written));
        let start = self.limits.written_bytes();
        Ok(Elements { to: self, announced, written: 0, start })
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple(self, length: usize) -> Result<Self, Fault> {
        self.sum = self.sum.wrapping_add(Shape::TUPLE.of(Owner::TUPLE).nameless(length).total());
        self.note(|notes, written| {
            notes.log.written(Owner::TUPLE, Vec::new(), length);
            notes.trace.open(written);
        });
        Ok(self)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'e, 'b, LOG>, Fault> {
        Ok(self.fields(Owner::structure(name), Shape::TUPLE))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'e, 'b, LOG>, Fault> {
        self.variant(name, index, variant)?;
        Ok(self.fields(Owner::variant(name, index, variant), Shape::TUPLE))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, Fault> {
        self.serialize_seq(length)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'s, 'e, 'b, LOG>, Fault> {
        Ok(self.fields(Owner::structure(name), Shape::NAMED))
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'s, 'e, 'b, LOG>, Fault> {
        self.variant(name, index, variant)?;
        Ok(self.fields(Owner::variant(name, index, variant), Shape::NAMED))
    }
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.serialize_str(&value.to_string())
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cold]
fn unknown_length() -> Fault {
    let text = "its type writes elements without saying how many (serde's `flatten`, or an iterator), which the default \
                format cannot: ";
    Fault::new(Cause::Format, [text, super::REMEDY].concat())
}

impl<const LOG: bool> Elements<'_, '_, '_, LOG> {
    /// An element, or an entry's key.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn begin<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.written += 1;
        self.start = self.to.limits.written_bytes();
        value.serialize(&mut *self.to)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end_element(&mut self) -> Result<(), Fault> {
        self.to.note(|notes, written| notes.trace.end_part(written));
        self.to.limits.end_element(self.start)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self) -> Result<(), Fault> {
        self.to.note(|notes, _| notes.trace.close_sequence());
        self.to.limits.leave();
        if self.written == self.announced { Ok(()) } else { Err(miscounted(self.announced, self.written)) }
    }
}

#[cold]
fn miscounted(announced: usize, written: usize) -> Fault {
    Fault::new(Cause::Format, format!("its type announces {announced} elements and writes {written}"))
}

impl<const LOG: bool> ser::SerializeSeq for Elements<'_, '_, '_, LOG> {
    type Ok = ();
    type Error = Fault;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.begin(value)?;
        self.end_element()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), Fault> {
        self.complete()
    }
}

impl<const LOG: bool> ser::SerializeMap for Elements<'_, '_, '_, LOG> {
    type Ok = ();
    type Error = Fault;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.begin(key)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut *self.to)?;
        self.end_element()
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), Fault> {
        self.complete()
    }
}

impl<const LOG: bool> ser::SerializeTuple for &mut Serializer<'_, '_, LOG> {
    type Ok = ();
    type Error = Fault;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.part(value)
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), Fault> {
        self.note(|notes, _| notes.trace.close_fields(None, Owner::TUPLE.place()));
        Ok(())
    }
}

impl<const LOG: bool> Fields<'_, '_, '_, LOG> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn named<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Fault> {
        self.shape = self.shape.name(key);
        if LOG {
            self.keys.push(key);
        }
        self.written += 1;
        self.to.part(value).map_err(|fault| fault.within(self.owner.name(), key))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn nameless<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.written += 1;
        self.to.part(value).map_err(|fault| fault.within(self.owner.name(), self.written - 1))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, shape: Shape) -> Result<(), Fault> {
        self.to.sum = self.to.sum.wrapping_add(shape.total());
        if self.owner.variant.is_some() {
            self.to.limits.leave();
        }
        self.to.note(|notes, _| {
            notes.log.written(self.owner, self.keys, self.written);
            notes.trace.close_fields(None, self.owner.place());
        });
        Ok(())
    }

    #[cold]
    fn skipped(&self, key: &'static str) -> Fault {
        let text = "the field is left out (serde's `skip_serializing_if`), and the default format has no field names to \
                    tell so: remove the attribute, or ";
        Fault::new(Cause::Format, [text, super::REMEDY].concat()).within(self.owner.name(), key)
    }
}

macro_rules! tuples {
    ($($trait:ident)*) => {$(
        impl<const LOG: bool> ser::$trait for Fields<'_, '_, '_, LOG> {
            type Ok = ();
            type Error = Fault;

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.nameless(value)
            }
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn end(self) -> Result<(), Fault> {
                let shape = self.shape.nameless(self.written);
                self.complete(shape)
            }
        }
    )*};
}
tuples!(SerializeTupleStruct SerializeTupleVariant);

macro_rules! structs {
    ($($trait:ident)*) => {$(
        impl<const LOG: bool> ser::$trait for Fields<'_, '_, '_, LOG> {
            type Ok = ();
            type Error = Fault;

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Fault> {
                self.named(key, value)
            }
            fn skip_field(&mut self, key: &'static str) -> Result<(), Fault> {
                Err(self.skipped(key))
            }
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn end(self) -> Result<(), Fault> {
                let shape = self.shape;
                self.complete(shape)
            }
        }
    )*};
}
structs!(SerializeStruct SerializeStructVariant);
