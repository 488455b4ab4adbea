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
        match self.rest.split_at_checked(n) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(truncated(n, self.rest.len())),
        }
    }

    /// The next value written with [`Encoder::item`](crate::codec::encoder::Encoder::item) (`size` is `None`) or of a fixed
    /// size.
    #[inline]
    pub(crate) fn item(&mut self, size: Option<usize>) -> Result<Decoder<'a>, CodecError> {
        let n = match size {
            Some(n) => n,
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
        Err(CodecError::new(format!("{} bytes left over after the value", self.rest.len())))
    }
}

#[cold]
fn truncated(wanted: usize, left: usize) -> CodecError {
    CodecError::new(format!("{wanted} more bytes expected and {left} left"))
}
