//! Postcard with limits, for bytes that a worker wrote: however they lie, decoding them takes bounded time and stack.
//!
//! Two lies would do harm. A sequence whose elements take no bytes may claim 2^60 of them, and nothing in the bytes
//! contradicts it. And a type that contains itself (a list, a tree) is decoded by a function that calls itself, as deep
//! as the bytes say, until the thread's stack overflows and takes the program along.
//!
//! So a [`Guard`] stands between serde and postcard at every place where either could happen, and [`Limits`] counts.
//! Workers decode arguments the same way; they trust their host, and the limits do no harm there.
//!
//! [`put`] keeps the same limits on the other side, so that a value that nobody could decode fails where it is encoded,
//! before it has taken the stack or the memory there.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::codec::CodecError;
use crate::codec::compact;
use crate::codec::fault::Fault;
use crate::process::stack;

mod write;

pub(crate) use write::{WriteLimits, check_sequence, put};

/// How deep options, enums, sequences and maps may be nested in a value. Structs, tuples and boxes do not count: what
/// contains itself does so through one of the four, or it would have no end.
///
/// Deep enough for a list of as many boxes (JSON parsers stop at 128). An unoptimized build takes 1 to 4 KiB of stack
/// for each level of a small type, so in a thread of 2 MiB this limit comes before that of the stack: half of what is
/// left, since the other half is for the level that is about to begin, and for the caller.
pub(crate) const DEPTH_MAX: u32 = 256;

/// Elements, of all sequences and maps of a value together, that may take no bytes. More than anybody sends in earnest,
/// since they say nothing but their number; few enough to be counted in a moment.
pub(crate) const EMPTY_ELEMENTS_MAX: usize = 1 << 16;

/// Values of more bytes than this are looked at before they are decoded: whether the stack holds them.
const LARGE_BYTES: usize = 4 << 10;

/// Copies of a large value that are under way on the stack while it is decoded: those of serde and of this file, each
/// of which hands the value to its caller.
pub(crate) const COPIES: usize = if cfg!(debug_assertions) { 16 } else { 6 };

/// The check of whether the stack holds the copies of a `T` that are made while one is decoded: to be made before any
/// function is entered whose frame holds a `T`.
///
/// # Errors
///
/// It does not.
#[inline(always)]
pub(crate) fn check_stack<T>() -> Result<(), CodecError> {
    if size_of::<T>() <= LARGE_BYTES {
        return Ok(());
    }
    let stack_bytes = stack::left();
    if stack_bytes / COPIES < size_of::<T>() {
        return Err(refused(Excess::Large { bytes: size_of::<T>(), stack_bytes }));
    }
    Ok(())
}

/// Reads a value.
// Each move of a value that has just been written stalls, so this is inlined and moves it once.
#[inline(always)]
pub(crate) fn take_from<'a, T: Deserialize<'a>>(bytes: &mut compact::Deserializer<'a>) -> Result<T, CodecError> {
    let limits = Limits::new(bytes.rest().len());
    match T::deserialize(limits.guard(bytes)) {
        Ok(value) => match limits.excess.take() {
            None => Ok(value),
            Some(excess) => Err(refused(excess)),
        },
        Err(fault) => limits.check(Err(plain::<T>(&fault))),
    }
}

#[cold]
fn refused(excess: Excess) -> CodecError {
    CodecError::new(excess.to_string())
}

#[cold]
fn plain<T>(fault: &Fault) -> CodecError {
    CodecError::new(compact::advice(fault, std::any::type_name::<T>()))
}

/// What is left of the limits of one value.
pub(crate) struct Limits {
    bytes: usize,
    elements: Cell<usize>,
    depth: Cell<u32>,
    /// Bytes of stack that were left when the value began.
    stack_bytes: usize,
    /// The stack pointer then.
    stack_start: usize,
    excess: Cell<Option<Excess>>,
}

#[derive(Clone, Copy, Debug)]
enum Excess {
    Depth,
    /// Half of the stack is taken.
    Stack {
        depth: u32,
        stack_bytes: usize,
    },
    /// One value is too large for what is left of the stack.
    Large {
        bytes: usize,
        stack_bytes: usize,
    },
    /// More elements are claimed than the bytes can hold.
    Elements {
        claimed: usize,
        bytes: usize,
    },
    /// More elements than may be took no bytes when they were encoded.
    EmptyElements,
    /// The value was longer than its length can say when it was encoded.
    Bytes,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Depth => write!(f, "nested deeper than {DEPTH_MAX} levels"),
            Excess::Stack { depth, stack_bytes } => write!(
                f,
                "nested values that take more than {} bytes of stack within {depth} levels, half of what this thread has \
                 left: use a thread with more stack, or nest less",
                stack_bytes / 2
            ),
            Excess::Large { bytes, stack_bytes } => write!(
                f,
                "a value of {bytes} bytes, of which up to {COPIES} copies are made, in a thread with {stack_bytes} bytes \
                 of stack left: use a thread with more stack, or a `Vec`"
            ),
            Excess::Elements { claimed, bytes } => {
                write!(f, "{claimed} elements in {bytes} bytes, where at most {EMPTY_ELEMENTS_MAX} take none")
            }
            Excess::EmptyElements => {
                write!(f, "more than {EMPTY_ELEMENTS_MAX} elements that take no bytes: send their number instead")
            }
            Excess::Bytes => write!(f, "a value is longer than the limit of {} bytes", u32::MAX),
        }
    }
}

impl Limits {
    pub(crate) fn new(bytes: usize) -> Self {
        Limits {
            bytes,
            elements: Cell::new(bytes.saturating_add(EMPTY_ELEMENTS_MAX)),
            depth: Cell::new(0),
            stack_bytes: stack::left(),
            stack_start: stack::pointer(),
            excess: Cell::new(None),
        }
    }

    /// The value, unless a limit was passed; a visitor may have made something else of the error.
    #[inline]
    pub(crate) fn check<T>(&self, value: Result<T, CodecError>) -> Result<T, CodecError> {
        match self.excess.take() {
            None => value,
            Some(excess) => Err(refused(excess)),
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
        if self.stack_used() > self.stack_bytes / 2 {
            return Err(self.refuse(Excess::Stack { depth, stack_bytes: self.stack_bytes }));
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
            None => return Err(self.refuse(Excess::Elements { claimed, bytes: self.bytes })),
        }
        Ok(())
    }

    /// Elements to set memory aside for. All that a value gets to hear come to little more than its bytes, since
    /// [`Limits::begin`] has let pass no more.
    #[inline]
    fn hint(&self, claimed: Option<usize>) -> Option<usize> {
        claimed.map(|claimed| claimed.min(self.bytes))
    }

    #[inline]
    fn stack_used(&self) -> usize {
        self.stack_start.saturating_sub(stack::pointer())
    }

    /// A `T` is about to be decoded.
    #[inline(always)]
    fn check_room<T, E: Error>(&self) -> Result<(), E> {
        if size_of::<T>() <= LARGE_BYTES {
            return Ok(());
        }
        let stack_bytes = self.stack_bytes.saturating_sub(self.stack_used());
        if stack_bytes / COPIES < size_of::<T>() {
            return Err(self.refuse(Excess::Large { bytes: size_of::<T>(), stack_bytes }));
        }
        Ok(())
    }

    #[cold]
    fn refuse<E: Error>(&self, excess: Excess) -> E {
        self.excess.set(Some(excess));
        E::custom("past a limit")
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
            self.limits.check_room::<V::Value, _>()?;
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
        self.limits.check_room::<S::Value, _>()?;
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
        self.limits.check_room::<S::Value, _>()?;
        self.inner.next_key_seed(self.limits.guard(seed))
    }

    #[inline(always)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.limits.check_room::<S::Value, _>()?;
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
        self.limits.check_room::<S::Value, _>()?;
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
