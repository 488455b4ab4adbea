//! Taking numbers, text and the beginnings of nested values off the front of the bytes. Nothing here depends on the
//! type that is read, so that all types share one copy, which is compiled with this crate.

use super::enums::{Names, variant_name};
use super::shape::Shape;
use super::totals::Key;
use super::{doubt, enums};
use crate::codec::decoder::{take, take_array};
use crate::codec::error::{Cause, CodecError};
use crate::codec::limits::ReadLimits;

/// The bytes of one value, the sum of its shape so far, and the doubts about it.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    /// The sum of the shapes that have been read.
    pub(super) sum: u64,
    pub(super) limits: ReadLimits,
    /// The kinds of doubt about the value so far, see [`doubt`].
    pub(super) doubts: u8,
}

impl<'a> Reader<'a> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, sum: 0, limits: ReadLimits::new(bytes.len()), doubts: 0 }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn add(&mut self, total: u64) {
        self.sum = self.sum.wrapping_add(total);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                Ok(byte)
            }
            None => Err(ended()),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        take_array(&mut self.rest)
    }

    /// A number of up to `bits` bits.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn varint(&mut self, bits: u32) -> Result<u64, CodecError> {
        let byte = self.byte()?;
        if byte < 0x80 { Ok(byte.into()) } else { varint_groups(&mut self.rest, byte, bits) }
    }

    #[inline(never)]
    pub(super) fn long_varint(&mut self) -> Result<u128, CodecError> {
        let mut number = 0;
        // Bounded by the type, so that bytes with the high bit set for ever end in an error.
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let group = u128::from(byte & 0x7f);
            if group >> (u128::BITS - shift).min(7) != 0 {
                break;
            }
            number |= group << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(too_large(u128::BITS))
    }

    fn length(&mut self) -> Result<usize, CodecError> {
        self.varint(u64::BITS).map(|length| length as usize)
    }

    // Calls, where the numbers above are inlined: text costs a check of its bytes anyway, and each field's code stays short.
    #[inline(never)]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.length()?;
        take(&mut self.rest, length)
    }

    #[inline(never)]
    pub(super) fn text(&mut self) -> Result<&'a str, CodecError> {
        let length = self.length()?;
        std::str::from_utf8(take(&mut self.rest, length)?)
            .map_err(|error| CodecError::of(Cause::Bytes, error.to_string()))
    }

    #[inline(never)]
    pub(super) fn character(&mut self) -> Result<char, CodecError> {
        // Postcard writes a character as text behind its length, and so must we.
        let mut characters = self.text()?.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(character),
            _ => Err(CodecError::of(Cause::Bytes, "text that is no single character where a `char` is expected")),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn boolean(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            // No other byte is taken for true: this is often the first sign that two sides disagree.
            byte => Err(not_a(byte, "a `bool`")),
        }
    }

    /// True for `Some`: one level of nesting begins.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn open_option(&mut self) -> Result<bool, CodecError> {
        match self.rest.split_first() {
            Some((0, rest)) => {
                self.rest = rest;
                Ok(false)
            }
            // Asked before the byte is taken, so that the slow way below finds it there and no error is built here.
            Some((1, rest)) if self.limits.nesting.may_enter() => {
                self.rest = rest;
                self.limits.nesting.enter()?;
                Ok(true)
            }
            _ => self.open_option_slowly(),
        }
    }

    #[cold]
    #[inline(never)]
    fn open_option_slowly(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => self.limits.nesting.enter().map(|()| true),
            byte => Err(not_a(byte, "an `Option`")),
        }
    }

    /// A sequence or map begins. Returns the number of its elements.
    #[inline(never)]
    pub(super) fn open_sequence(&mut self) -> Result<usize, CodecError> {
        let elements = self.length()?;
        // Before anything is set aside for so many elements.
        self.limits.begin(elements)?;
        self.limits.nesting.enter()?;
        Ok(elements)
    }

    /// An enum begins. Adds the variant's total, and returns the variant's index. A watched value never takes the
    /// remembered total, so that each enum raises its doubt again.
    #[inline(never)]
    pub(super) fn open_variant(
        &mut self,
        name: &'static str,
        names: Names,
        is_watched: bool,
    ) -> Result<u32, CodecError> {
        self.limits.nesting.enter()?;
        let index = self.varint(u32::BITS)? as u32;
        let key = Key::variant(name, names, index);
        match key.look_up() {
            Some(total) if !is_watched => self.add(total),
            _ => self.add_variant(key, name, names, index),
        }
        Ok(index)
    }

    #[cold]
    fn add_variant(&mut self, key: Key, name: &'static str, names: Names, index: u32) {
        let total = Shape::chosen(index, variant_name(names, index)).total();
        // Only an exact list says by its names which variant the index is; for another one the doubt must come each time.
        match enums::is_exact((name, names)) {
            true => key.remember(total),
            false => self.doubts |= doubt::ENUM,
        }
        self.add(total);
    }
}

#[cold]
#[inline(never)]
fn not_a(byte: u8, expected: &str) -> CodecError {
    CodecError::of(Cause::Bytes, format!("the byte {byte} where {expected} is expected"))
}

#[cold]
#[inline(never)]
fn ended() -> CodecError {
    CodecError::truncated(1, 0)
}

#[cold]
#[inline(never)]
fn too_large(bits: u32) -> CodecError {
    CodecError::of(Cause::Bytes, format!("a number of more than {bits} bits"))
}

/// A number of more than seven bits after its first byte. One function for all types.
#[inline(never)]
fn varint_groups(rest: &mut &[u8], first: u8, bits: u32) -> Result<u64, CodecError> {
    let mut number = u64::from(first & 0x7f);
    let mut shift = 7;
    while shift < bits {
        let Some((&byte, behind)) = rest.split_first() else { return Err(CodecError::truncated(1, 0)) };
        *rest = behind;
        let group = u64::from(byte & 0x7f);
        // The last group may have fewer than seven bits.
        if group >> (bits - shift).min(7) != 0 {
            break;
        }
        number |= group << shift;
        if byte < 0x80 {
            return Ok(number);
        }
        shift += 7;
    }
    Err(too_large(bits))
}
