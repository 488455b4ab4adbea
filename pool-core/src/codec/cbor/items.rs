//! Taking CBOR's items off the front of the bytes.

use super::deserializer::Deserializer;
use super::head;
use crate::codec::decoder::{take, take_array};
use crate::codec::error::{Cause, CodecError};

/// The first byte of an item, and the number that it has with it.
pub(super) struct Head {
    major: u8,
    /// `None` where the number of elements is told by their end.
    pub(super) number: Option<u64>,
}

/// A number with a fraction.
pub(super) enum Float {
    Single(f32),
    Double(f64),
}

impl<'a> Deserializer<'a> {
    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8], CodecError> {
        take(&mut self.rest, usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        take_array(&mut self.rest)
    }

    pub(super) fn peek(&self) -> Result<u8, CodecError> {
        self.rest.first().copied().ok_or_else(|| CodecError::truncated(1, 0))
    }

    /// Takes the next byte if it is this one.
    pub(super) fn takes(&mut self, byte: u8) -> Result<bool, CodecError> {
        let is_there = self.peek()? == byte;
        if is_there {
            self.rest = &self.rest[1..];
        }
        Ok(is_there)
    }

    pub(super) fn head(&mut self) -> Result<Head, CodecError> {
        let [first] = self.array()?;
        let (major, info) = (first >> head::MAJOR_SHIFT, first & head::INFO_MASK);
        let number = match info {
            0..head::ONE_BYTE => Some(info.into()),
            head::ONE_BYTE => Some(u8::from_be_bytes(self.array()?).into()),
            head::TWO_BYTES => Some(u16::from_be_bytes(self.array()?).into()),
            head::FOUR_BYTES => Some(u32::from_be_bytes(self.array()?).into()),
            head::EIGHT_BYTES => Some(u64::from_be_bytes(self.array()?)),
            head::INDEFINITE => None,
            // RFC 8949 reserves 28 to 30.
            _ => return Err(unexpected(first, "an item")),
        };
        Ok(Head { major, number })
    }

    /// The head of an item of this kind, which must be of a known length.
    pub(super) fn expect(&mut self, major: u8, expected: &str) -> Result<u64, CodecError> {
        // Looked at before it is taken, for the words of the error.
        let first = self.peek()?;
        match self.head()? {
            Head { major: found, number: Some(number), .. } if found == major => Ok(number),
            _ => Err(unexpected(first, expected)),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, CodecError> {
        let length = self.expect(head::TEXT, "text")?;
        std::str::from_utf8(self.take(length)?).map_err(|error| CodecError::of(Cause::Bytes, error.to_string()))
    }

    /// A whole number `n`, or with the sign `-1 - n`.
    pub(super) fn integer(&mut self) -> Result<(bool, u128), CodecError> {
        let first = self.peek()?;
        let head = self.head()?;
        match (head.major, head.number) {
            (head::UNSIGNED, Some(number)) => Ok((false, number.into())),
            (head::NEGATIVE, Some(number)) => Ok((true, number.into())),
            (head::TAG, Some(tag @ (head::POSITIVE_TAG | head::NEGATIVE_TAG))) => {
                let length = self.expect(head::BYTES, "a number")?;
                let bytes = self.take(length)?;
                // The sender may leave out leading zeros, so the bytes are set against the end.
                let mut number = [0; 16];
                let Some(padding) = number.len().checked_sub(bytes.len()) else {
                    return Err(CodecError::of(Cause::Bytes, "a number of more than 128 bits"));
                };
                number[padding..].copy_from_slice(bytes);
                Ok((tag == head::NEGATIVE_TAG, u128::from_be_bytes(number)))
            }
            _ => Err(unexpected(first, "a whole number")),
        }
    }

    pub(super) fn float(&mut self) -> Result<Float, CodecError> {
        match self.array()? {
            [head::F32] => Ok(Float::Single(f32::from_bits(u32::from_be_bytes(self.array()?)))),
            [head::F64] => Ok(Float::Double(f64::from_bits(u64::from_be_bytes(self.array()?)))),
            [first] => Err(unexpected(first, "a number with a fraction")),
        }
    }

    /// The elements of an array, or entries of a map.
    pub(super) fn elements(&mut self, major: u8, expected: &str) -> Result<Option<usize>, CodecError> {
        let first = self.peek()?;
        let head = self.head()?;
        if head.major != major {
            return Err(unexpected(first, expected));
        }
        match head.number {
            // Each element takes a byte at least, so a number past the bytes is a lie, found before memory is set aside.
            Some(number) if number > self.rest.len() as u64 => {
                Err(CodecError::truncated(usize::try_from(number).unwrap_or(usize::MAX), self.rest.len()))
            }
            number => Ok(number.map(|number| number as usize)),
        }
    }

    /// Takes the tag that marks the content of a `Some`.
    pub(super) fn takes_some_tag(&mut self) -> Result<bool, CodecError> {
        let before = self.rest;
        // Another tag is put back: it begins a number of more than 64 bits.
        if self.peek()? >> head::MAJOR_SHIFT == head::TAG && self.head()?.number == Some(head::SOME_TAG) {
            return Ok(true);
        }
        self.rest = before;
        Ok(false)
    }
}

#[cold]
pub(super) fn unexpected(first: u8, expected: &str) -> CodecError {
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
    CodecError::of(Cause::Bytes, format!("{found} where {expected} is expected"))
}
