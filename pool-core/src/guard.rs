//! Postcard with limits, for bytes that a worker wrote: however they lie, decoding them takes bounded time and stack.
//!
//! Two lies would do harm. A sequence whose elements take no bytes may claim 2^60 of them, and nothing in the bytes
//! contradicts it. And a type that contains itself (a list, a tree) is decoded by a function that calls itself, as deep
//! as the bytes say, until the thread's stack overflows and takes the program along.
//!
//! So a [`Guard`] stands between serde and postcard at every place where either could happen, and [`Limits`] counts.
//! Workers decode arguments the same way; they trust their host, and the limits do no harm there.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::codec::CodecError;
use crate::compact;
use crate::fault::Fault;

/// How deep options, enums, sequences and maps may be nested in a value. Structs, tuples and boxes do not count: what
/// contains itself does so through one of the four, or it would have no end.
///
/// Deep enough for a list of as many boxes (JSON parsers stop at 128). An unoptimized build takes 1 to 4 KiB of stack
/// for each level of a small type, so that this limit comes before [`STACK_MAX`] and is the same in every build.
pub(crate) const DEPTH_MAX: u32 = 256;

/// Bytes of stack that nested values may take, for types that are large themselves: an unoptimized build has several
/// copies of each value under way. Half of a thread's stack; the other half is the caller's, and for one more level.
pub(crate) const STACK_MAX: usize = 1 << 20;

/// Elements, of all sequences and maps of a value together, that may take no bytes. More than anybody sends in earnest,
/// since they say nothing but their number; few enough to be counted in a moment.
pub(crate) const EMPTY_ELEMENTS_MAX: usize = 1 << 16;

/// Reads a value.
// Each move of a value that has just been written stalls, so this is inlined and moves it once.
#[inline(always)]
pub(crate) fn take_from<'a, T: Deserialize<'a>>(bytes: &mut compact::Deserializer<'a>) -> Result<T, CodecError> {
    let limits = Limits::new(bytes.rest().len());
    match T::deserialize(limits.guard(bytes)) {
        Ok(value) => match limits.excess.take() {
            None => Ok(value),
            Some(excess) => Err(limits.error(excess)),
        },
        Err(fault) => limits.check(Err(plain(&fault))),
    }
}

#[cold]
fn plain(fault: &Fault) -> CodecError {
    CodecError::new(compact::advice(fault))
}

/// What is left of the limits of one value.
pub(crate) struct Limits {
    bytes: usize,
    elements: Cell<usize>,
    depth: Cell<u32>,
    excess: Cell<Option<Excess>>,
}

enum Excess {
    Depth,
    Stack { depth: u32 },
    Elements { claimed: usize },
}

impl Limits {
    pub(crate) fn new(bytes: usize) -> Self {
        Limits {
            bytes,
            elements: Cell::new(bytes.saturating_add(EMPTY_ELEMENTS_MAX)),
            depth: Cell::new(0),
            excess: Cell::new(None),
        }
    }

    /// The value, unless a limit was passed; a visitor may have made something else of the error.
    #[inline]
    pub(crate) fn check<T>(&self, value: Result<T, CodecError>) -> Result<T, CodecError> {
        match self.excess.take() {
            None => value,
            Some(excess) => Err(self.error(excess)),
        }
    }

    #[inline]
    fn guard<T>(&self, inner: T) -> Guard<'_, T> {
        Guard { inner, limits: self }
    }

    /// Goes one level deeper for `body`.
    #[inline]
    pub(crate) fn nested<T, E: Error>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let depth = self.depth.get();
        if depth == DEPTH_MAX {
            return Err(self.refuse(Excess::Depth));
        }
        if self.stack_used() > STACK_MAX {
            return Err(self.refuse(Excess::Stack { depth }));
        }
        self.depth.set(depth + 1);
        let result = body();
        self.depth.set(depth);
        result
    }

    /// A sequence or map begins, and says how many elements it has.
    #[inline]
    fn begin<E: Error>(&self, claimed: Option<usize>) -> Result<(), E> {
        let claimed = claimed.unwrap_or(usize::MAX);
        match self.elements.get().checked_sub(claimed) {
            Some(left) => self.elements.set(left),
            None => return Err(self.refuse(Excess::Elements { claimed })),
        }
        Ok(())
    }

    /// Elements to set memory aside for. All that a value gets to hear come to little more than its bytes, since
    /// [`Limits::begin`] has let pass no more.
    #[inline]
    fn hint(&self, claimed: Option<usize>) -> Option<usize> {
        claimed.map(|claimed| claimed.min(self.bytes))
    }

    /// The limits lie in the frame of [`take`], below which all nested values are decoded.
    #[inline]
    fn stack_used(&self) -> usize {
        let here = 0_u8;
        std::ptr::from_ref(self).addr().abs_diff(std::ptr::from_ref(std::hint::black_box(&here)).addr())
    }

    #[cold]
    fn refuse<E: Error>(&self, excess: Excess) -> E {
        self.excess.set(Some(excess));
        E::custom("past a limit")
    }

    #[cold]
    fn error(&self, excess: Excess) -> CodecError {
        CodecError::new(match excess {
            Excess::Depth => format!("nested deeper than {DEPTH_MAX} levels"),
            Excess::Stack { depth } => {
                format!("nested values that take more than {STACK_MAX} bytes of stack within {depth} levels")
            }
            Excess::Elements { claimed } => {
                format!("{claimed} elements in {} bytes, where at most {EMPTY_ELEMENTS_MAX} take none", self.bytes)
            }
        })
    }
}

/// One of serde's parts, under limits: a guarded deserializer hands out guarded visitors, these guarded accesses, and
/// these guarded deserializers again.
struct Guard<'l, T> {
    inner: T,
    limits: &'l Limits,
}

macro_rules! untouched {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! guarded {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* self.limits.guard(visitor))
        }
    )*};
}

type Names = &'static [&'static str];

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<'_, D> {
    type Error = D::Error;

    // What postcard answers without another deserializer, or not at all.
    untouched! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    guarded! {
        deserialize_option();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: Names);
        deserialize_enum(name: &'static str, variants: Names);
    }

    #[inline(always)]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_seq(self.limits.guard(Many(visitor)))
    }

    #[inline(always)]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(self.limits.guard(Many(visitor)))
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// The visitor of what says itself how many elements it has.
struct Many<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<'_, Many<V>> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.0.expecting(f)
    }

    #[inline(always)]
    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.limits.begin(access.size_hint())?;
        self.limits.nested(|| self.inner.0.visit_seq(self.limits.guard(access)))
    }

    #[inline(always)]
    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.limits.begin(access.size_hint())?;
        self.limits.nested(|| self.inner.0.visit_map(self.limits.guard(access)))
    }
}

/// Every other visitor that gets a deserializer.
impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    #[inline(always)]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline(always)]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline(always)]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.limits.nested(|| self.inner.visit_some(self.limits.guard(deserializer)))
    }

    #[inline(always)]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(self.limits.guard(deserializer))
    }

    #[inline(always)]
    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(self.limits.guard(access))
    }

    #[inline(always)]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.limits.nested(|| self.inner.visit_enum(self.limits.guard(access)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guard<'_, S> {
    type Value = S::Value;

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.limits.guard(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(self.limits.guard(seed))
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.limits.hint(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(self.limits.guard(seed))
    }

    #[inline(always)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(self.limits.guard(seed))
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.limits.hint(self.inner.size_hint())
    }
}

impl<'de, 'l, A: EnumAccess<'de>> EnumAccess<'de> for Guard<'l, A> {
    type Error = A::Error;
    type Variant = Guard<'l, A::Variant>;

    #[inline(always)]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, self.limits.guard(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline(always)]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(self.limits.guard(seed))
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, self.limits.guard(visitor))
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(self, fields: Names, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, self.limits.guard(visitor))
    }
}

#[cfg(test)]
mod tests;
