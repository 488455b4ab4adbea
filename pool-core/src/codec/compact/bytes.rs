//! Taking numbers and text off the front of the bytes.

use super::deserializer::Deserializer;
use crate::codec::fault::{Cause, Fault};

impl<'a, W> Deserializer<'a, W> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault::truncated(length, self.rest.len())),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                Ok(byte)
            }
            None => Err(Fault::truncated(1, 0)),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.rest.split_first_chunk() {
            Some((&bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Fault::truncated(N, self.rest.len())),
        }
    }

    /// A number of up to `bits` bits.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn varint(&mut self, bits: u32) -> Result<u64, Fault> {
        let byte = self.byte()?;
        if byte < 0x80 { Ok(byte.into()) } else { self.varint_from(byte, bits) }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn varint_from(&mut self, first: u8, bits: u32) -> Result<u64, Fault> {
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        while shift < bits {
            let byte = self.byte()?;
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

    pub(super) fn long_varint(&mut self) -> Result<u128, Fault> {
        let mut number = 0;
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

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn length(&mut self) -> Result<usize, Fault> {
        self.varint(u64::BITS).map(|length| length as usize)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|error| Fault::new(Cause::Bytes, error.to_string()))
    }
}

#[cold]
fn too_large(bits: u32) -> Fault {
    Fault::new(Cause::Bytes, format!("a number of more than {bits} bits"))
}
