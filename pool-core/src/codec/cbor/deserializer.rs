//! A value that is being read, within the limits that hold for every value.

use super::watch::Watched;
use crate::codec::error::CodecError;
use crate::codec::limits::ReadLimits;

/// Reads one value. Serde's side of it stands in `deserialize`.
pub(super) struct Deserializer<'a> {
    pub(super) rest: &'a [u8],
    pub(super) limits: ReadLimits,
    /// The kinds of doubt about the value so far, see [`doubt`](super::watch::doubt).
    pub(super) doubts: u8,
    /// Notes of the parts that have been read, if these are asked for. Boxed, because few values need them.
    pub(super) watch: Option<Box<Watched<'a>>>,
}

impl<'a> Deserializer<'a> {
    pub(super) fn new(bytes: &'a [u8], watch: Option<Box<Watched<'a>>>) -> Self {
        Deserializer { rest: bytes, limits: ReadLimits::new(bytes.len()), doubts: 0, watch }
    }

    /// Goes one level deeper for `body`.
    pub(super) fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, CodecError>) -> Result<T, CodecError> {
        self.limits.nesting.enter()?;
        let result = body(self);
        self.limits.nesting.leave();
        result
    }

    pub(super) fn note(&mut self, note: impl FnOnce(&mut Watched<'a>, &'a [u8])) {
        if let Some(watch) = &mut self.watch {
            note(watch, self.rest);
        }
    }
}
