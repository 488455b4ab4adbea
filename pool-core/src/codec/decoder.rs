//! Reading values from bytes.

use crate::codec::encoder::FRAME;
use crate::codec::error::CodecError;
use crate::codec::plain::Plain;

/// Reads values from bytes, lending them where a type can borrow.
#[derive(Debug)]
pub struct Decoder<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads `bytes` from their start.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Decoder { rest: bytes }
    }

    #[inline]
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        take(&mut self.rest, n)
    }

    /// The next value written with [`Encoder::item`](crate::codec::encoder::Encoder::item) (`size` is `None`) or of a fixed
    /// size.
    #[inline]
    pub(crate) fn item(&mut self, size: Option<usize>) -> Result<Decoder<'a>, CodecError> {
        let n = match size {
            Some(n) => n,
            // A length past the end is refused by the next line, so a lie costs nothing.
            None => u32::from_bytes(self.take(FRAME)?).unwrap_or_default() as usize,
        };
        self.take(n).map(Decoder::new)
    }

    /// Everything has been read, or the value was not of the type expected.
    #[inline]
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        // Bytes are left where the two sides of a type disagree, or where a worker lies.
        Err(CodecError::new(format!("{} bytes left over after the value", self.rest.len())))
    }
}

/// Takes bytes off the front of the rest. Nothing is taken if there are fewer.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], CodecError> {
    match rest.split_at_checked(bytes) {
        Some((taken, behind)) => {
            *rest = behind;
            Ok(taken)
        }
        None => Err(CodecError::truncated(bytes, rest.len())),
    }
}

/// The same for a number of bytes that is known when the program is compiled.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CodecError> {
    match rest.split_first_chunk() {
        Some((&taken, behind)) => {
            *rest = behind;
            Ok(taken)
        }
        None => Err(CodecError::truncated(N, rest.len())),
    }
}
