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
    pub(super) out: &'e mut Encoder<'b>,
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
    pub(super) fn note(&mut self, note: impl FnOnce(&mut Notes, &[u8])) {
        if let Some(notes) = self.noting.notes() {
            note(notes, self.out.written());
        }
    }

    /// The choice of a variant, which is a level of nesting.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn variant(&mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), CodecError> {
        self.limits.nesting.enter()?;
        // By the name, too: a skipped variant shifts the indices on one side only.
        self.sum = self.sum.wrapping_add(Shape::chosen(index, variant).total());
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
    pub(super) fn fields(&mut self, owner: Owner, shape: Shape) -> Fields<'_, 'e, 'b, N> {
        self.note(|notes, written| notes.trace.open(written));
        Fields { to: self, owner, shape: shape.of(owner), written: 0, keys: N::Keys::default() }
    }
}

/// Text or bytes behind their length. One function for all types.
#[inline(never)]
pub(super) fn put_bytes(bytes: &[u8], out: &mut Encoder<'_>, limits: &mut WriteLimits) -> Result<(), CodecError> {
    limits.check(out.written_bytes(), bytes.len())?;
    varint::put(bytes.len() as u64, out);
    out.put(bytes);
    Ok(())
}

/// The elements of a sequence or map, which must be as many as were announced.
pub(super) struct Elements<'s, 'e, 'b, N: Noting> {
    pub(super) to: &'s mut Serializer<'e, 'b, N>,
    pub(super) announced: usize,
    pub(super) written: usize,
    /// Bytes before the element or entry.
    pub(super) start: usize,
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
