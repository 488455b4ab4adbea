//! Writing values into memory that exists already.

use crate::codec::error::CodecError;
use crate::codec::large_vec;

/// Writes values one after the other into a piece of memory. One that does not fit beside the others goes to a vector
/// of its own.
#[derive(Debug)]
pub struct Encoder<'b> {
    fixed: &'b mut [u8],
    /// Where the current item begins.
    start: usize,
    /// Where its next byte goes: at the end of `fixed` while there is a spill, so that one look tells both.
    at: usize,
    /// The current item, since it does not fit.
    spill: Option<Vec<u8>>,
}

/// Bytes of the length before a value of no fixed size.
pub(crate) const FRAME: usize = size_of::<u32>();

impl<'b> Encoder<'b> {
    /// Writes to `fixed` as long as all fits.
    #[inline]
    pub fn new(fixed: &'b mut [u8]) -> Self {
        Encoder { fixed, start: 0, at: 0, spill: None }
    }

    /// Writes to a vector only.
    pub fn to_vec(spill: Vec<u8>) -> Encoder<'static> {
        Encoder { fixed: &mut [], start: 0, at: 0, spill: Some(spill) }
    }

    /// The bytes as a vector if they did not fit (or were never meant to), else how many stand in the memory given.
    #[inline]
    pub fn finish(self) -> Result<usize, Vec<u8>> {
        match self.spill {
            None => Ok(self.at),
            Some(spill) => Err(spill),
        }
    }

    /// The bytes of the current item.
    pub(crate) fn written(&self) -> &[u8] {
        self.spill.as_deref().unwrap_or(&self.fixed[self.start..self.at])
    }

    /// How many they are.
    #[inline(always)]
    pub(crate) fn written_bytes(&self) -> usize {
        self.spill.as_ref().map_or(self.at - self.start, Vec::len)
    }

    /// Bytes that stand in the memory given.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.at
    }

    /// Writes one value with `body`, behind its length (`u32`) unless all have the same `size`, so that a reader can
    /// skip it.
    ///
    /// If it does not fit, it comes back as a vector, and as if it had not been written; likewise if it cannot be
    /// encoded.
    ///
    /// # Errors
    ///
    /// Those of `body`, and a value longer than its length can say.
    #[inline]
    pub(crate) fn item(
        &mut self,
        size: Option<usize>,
        body: impl FnOnce(&mut Self) -> Result<(), CodecError>,
    ) -> Result<Option<Vec<u8>>, CodecError> {
        self.begin_item(size);
        let written = body(self);
        if written.is_err() || self.spill.is_some() {
            return self.take_back(size, written);
        }
        self.end_item(size);
        Ok(None)
    }

    #[inline]
    fn begin_item(&mut self, size: Option<usize>) {
        self.start = self.at;
        if size.is_none() {
            self.put_array([0; FRAME]);
        }
    }

    /// Writes the item's length, if it has one.
    #[inline]
    fn end_item(&mut self, size: Option<usize>) {
        if size.is_none() {
            // It is as long as the memory given at most.
            let length = self.at - self.start - FRAME;
            self.fixed[self.start..self.start + FRAME].copy_from_slice(&(length as u32).to_le_bytes());
        }
    }

    /// Takes back an item that does not fit, or could not be encoded.
    #[cold]
    #[inline(never)]
    fn take_back(
        &mut self,
        size: Option<usize>,
        written: Result<(), CodecError>,
    ) -> Result<Option<Vec<u8>>, CodecError> {
        self.at = self.start;
        let mut spill = self.spill.take();
        written?;
        if let (None, Some(item)) = (size, &mut spill) {
            let length = item.len() - FRAME;
            let Ok(frame) = u32::try_from(length) else {
                let text = format!("a value of {length} bytes is longer than the limit of {} bytes", u32::MAX);
                return Err(CodecError::new(text));
            };
            item[..FRAME].copy_from_slice(&frame.to_le_bytes());
        }
        Ok(spill)
    }

    /// Room for `n` bytes, to be written by the caller.
    #[inline]
    pub(crate) fn room(&mut self, n: usize) -> &mut [u8] {
        let (start, end) = (self.at, self.at + n);
        if end > self.fixed.len() {
            return self.room_in_spill(n);
        }
        self.at = end;
        &mut self.fixed[start..end]
    }

    /// The vector for the current item, which is about to get `n` more bytes.
    #[cold]
    fn spill(&mut self, n: usize) -> &mut Vec<u8> {
        let written = &self.fixed[self.start..self.at];
        let spill = self.spill.get_or_insert_with(|| {
            let mut spill = large_vec::with_room(written.len() + n);
            spill.extend_from_slice(written);
            spill
        });
        self.at = self.fixed.len();
        large_vec::reserve(spill, n);
        spill
    }

    #[cold]
    fn room_in_spill(&mut self, n: usize) -> &mut [u8] {
        let spill = self.spill(n);
        let start = spill.len();
        spill.resize(start + n, 0);
        &mut spill[start..]
    }

    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.fixed.get_mut(self.at..self.at + bytes.len()) {
            Some(room) => {
                pool_ipc::copy(room, bytes);
                self.at += bytes.len();
            }
            None => self.put_in_spill(bytes),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_in_spill(&mut self, bytes: &[u8]) {
        pool_ipc::append(self.spill(bytes.len()), bytes);
    }

    /// As [`put`](Encoder::put), for bytes of a known number.
    // Inlined, since it is a few instructions, while `put` would call `memcpy`.
    #[inline(always)]
    pub(crate) fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        match self.fixed.get_mut(self.at..self.at + N) {
            Some(room) => {
                room.copy_from_slice(&bytes);
                self.at += N;
            }
            None => self.put_array_in_spill(bytes),
        }
    }

    // By value, since bytes whose address is taken would be written to memory first.
    #[cold]
    #[inline(never)]
    fn put_array_in_spill<const N: usize>(&mut self, bytes: [u8; N]) {
        self.put_in_spill(&bytes);
    }

    /// Appends the first `n` bytes. All are written where there is room, as that is one instruction.
    #[inline(always)]
    pub(crate) fn put_first<const N: usize>(&mut self, bytes: [u8; N], n: usize) {
        match self.fixed.get_mut(self.at..self.at + N) {
            Some(room) => {
                room.copy_from_slice(&bytes);
                self.at += n;
            }
            None => self.put(&bytes[..n]),
        }
    }
}
