//! Writing values into memory that exists already.

use std::mem::ManuallyDrop;
use std::ops::{Deref, Range};

use pool_ipc::{Arena, Segment};

use crate::attachments::Attachments;
use crate::attachments::scope::Side;
use crate::codec::error::CodecError;
use crate::codec::large_vec;
use crate::codec::naming::Naming;

/// Writes values one after the other into a piece of memory. A value that does not fit beside the others goes to memory of its
/// own.
#[derive(Debug)]
pub struct Encoder<'b> {
    fixed: &'b mut [u8],
    /// Start of the current item.
    start: usize,
    /// The place of its next byte: the end of `fixed` while there is a spill, so that one comparison tells both.
    at: usize,
    /// The current item, if it does not fit.
    spill: Option<Spill>,
    /// Memory for large items that workers read in place.
    arena: Option<&'b Arena>,
    /// The place for the arrays that values name; none where values are written for comparison only.
    naming: Option<Naming<'b>>,
}

/// Bytes of the length before a value of no fixed size.
pub(crate) const FRAME: usize = size_of::<u32>();

impl<'b> Encoder<'b> {
    /// Writes to `fixed` as long as all fits.
    #[inline]
    pub fn new(fixed: &'b mut [u8]) -> Self {
        Encoder { fixed, start: 0, at: 0, spill: None, arena: None, naming: None }
    }

    /// As [`new`](Encoder::new), but a large item that does not fit goes to the arena if there is room.
    #[inline]
    pub(crate) fn with_arena(fixed: &'b mut [u8], arena: Option<&'b Arena>) -> Self {
        Encoder { arena, ..Encoder::new(fixed) }
    }

    /// Lists the arrays that values name. Such a value is returned as one that does not fit.
    pub(crate) fn naming_alone(self, list: &'b mut Attachments, side: Side) -> Self {
        Encoder { naming: Some(Naming::new(list, side, true)), ..self }
    }

    /// Lists the arrays that arguments name. Such arguments stand beside others.
    #[inline]
    pub(crate) fn naming(self, list: &'b mut Attachments) -> Self {
        Encoder { naming: Some(Naming::new(list, Side::Arguments, false)), ..self }
    }

    /// True if so many arrays have been named that the next item is better sent apart.
    #[inline]
    pub(crate) fn names_many(&self) -> bool {
        self.naming.as_ref().is_some_and(Naming::is_many)
    }

    /// The direction of the values, for arrays in them.
    pub(crate) fn side(&self) -> Side {
        self.naming.as_ref().map_or(Side::Rehearsal, |naming| naming.side)
    }

    /// The current item names these arrays.
    ///
    /// # Errors
    ///
    /// It names too many.
    #[cold]
    pub(crate) fn attach(&mut self, new: Attachments) -> Result<(), CodecError> {
        let Some(naming) = self.naming.as_mut().filter(|_| !new.is_empty()) else { return Ok(()) };
        if naming.add(self.start, new)? {
            self.spill(0);
        }
        Ok(())
    }

    /// Writes to a vector only.
    pub fn to_vec(spill: Vec<u8>) -> Encoder<'static> {
        Encoder { spill: Some(Spill::Heap(spill)), ..Encoder::new(&mut []) }
    }

    /// Writes one value with `encode` into a place of exactly its size.
    // The encoder is not dropped: its destructor would make the compiler write all of it to memory for each value. A value that
    // fits has no memory of its own, so nothing is leaked.
    #[inline(always)]
    pub(crate) fn in_place(
        place: &mut [u8],
        encode: impl FnOnce(&mut Encoder<'_>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let mut out = ManuallyDrop::new(Encoder::new(place));
        encode(&mut out)
    }

    /// The number of bytes in the memory given, or the bytes as a vector if they did not fit or were never meant to.
    #[inline]
    pub fn finish(self) -> Result<usize, Vec<u8>> {
        match self.spill {
            None => Ok(self.at),
            Some(spill) => Err(spill.into_vec()),
        }
    }

    /// The bytes of the current item.
    pub(crate) fn written(&self) -> &[u8] {
        self.spill.as_deref().unwrap_or(&self.fixed[self.start..self.at])
    }

    /// The number of these bytes.
    #[inline(always)]
    pub(crate) fn written_bytes(&self) -> usize {
        self.spill.as_ref().map_or(self.at - self.start, |spill| spill.len())
    }

    /// Bytes that stand in the memory given.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.at
    }

    /// Writes one value with `body`, behind its length (`u32`) unless all have the same `size`, so that a reader can
    /// skip it.
    ///
    /// An item that does not fit is returned, and leaves no trace in the memory given. Neither does one that cannot be encoded.
    ///
    /// # Errors
    ///
    /// Those of `body`, and a value longer than its length can say.
    #[inline]
    pub(crate) fn item(
        &mut self,
        size: Option<usize>,
        body: impl FnOnce(&mut Self) -> Result<(), CodecError>,
    ) -> Result<Option<Spill>, CodecError> {
        self.begin_item(size);
        // One test for both rare cases, so that the compiler's loop over items has one branch.
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
            // The item is no longer than the memory given, which is less than 4 GiB, so the cast loses nothing.
            let length = self.at - self.start - FRAME;
            self.fixed[self.start..self.start + FRAME].copy_from_slice(&(length as u32).to_le_bytes());
        }
    }

    /// Takes back an item that does not fit, or could not be encoded.
    #[cold]
    #[inline(never)]
    fn take_back(&mut self, size: Option<usize>, written: Result<(), CodecError>) -> Result<Option<Spill>, CodecError> {
        // Before the error is returned: the items before this one are sent all the same.
        self.at = self.start;
        let mut spill = self.spill.take();
        written?;
        if let (None, Some(item)) = (size, &mut spill) {
            let item = item.bytes_mut();
            let length = item.len() - FRAME;
            // Only here, where an item has memory of its own: the memory given is never that long.
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

    #[cold]
    #[inline(never)]
    fn room_in_spill(&mut self, n: usize) -> &mut [u8] {
        self.spill(n).room(n)
    }

    /// The current item's own memory, which is about to get `n` more bytes.
    #[cold]
    fn spill(&mut self, n: usize) -> &mut Spill {
        let (written, arena) = (&self.fixed[self.start..self.at], self.arena);
        let spill = self.spill.get_or_insert_with(|| Spill::begin(written, n, arena));
        if let Spill::Heap(bytes) = spill
            && bytes.len() <= MOVED_BYTES_MAX
            && n >= LARGE_BYTES
        {
            // Small parts came first, such as the length of an item that begins where no room is left.
            *spill = Spill::begin(bytes, n, arena);
        }
        // From here each write misses the fixed memory, and comes here.
        self.at = self.fixed.len();
        spill
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
        self.spill(bytes.len()).put(bytes);
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

    // By value, since a reference to the bytes would force them into memory first.
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

/// An encoded item in memory of its own, since it did not fit beside the others.
#[derive(Debug)]
pub(crate) enum Spill {
    Heap(Vec<u8>),
    /// These bytes of a large segment.
    InArena(Segment, Range<usize>),
}

/// Bytes of a value from which on it goes to the arena. For shorter ones a ring is as fast, and takes no memory.
pub(crate) const LARGE_BYTES: usize = 128 << 10;

/// Bytes of small parts that are moved when a large one follows.
const MOVED_BYTES_MAX: usize = 4 << 10;

/// The first large part of an item begins at a multiple of this in the arena, so that numbers can be lent in place.
const LARGE_ALIGN: usize = 64;

impl Spill {
    /// Memory for an item that begins with `written`, and to which `more` bytes are about to be added.
    fn begin(written: &[u8], more: usize, arena: Option<&Arena>) -> Spill {
        // The gap in front puts the first large part on an aligned address: the small parts before it are of odd length.
        let before = written.len().next_multiple_of(LARGE_ALIGN) - written.len();
        let arena = arena.filter(|_| more >= LARGE_BYTES);
        let segment = arena.and_then(|arena| arena.take_large(before + written.len().checked_add(more)?));
        if let Some(mut segment) = segment {
            let range = before..before + written.len();
            segment.bytes_mut()[range.clone()].copy_from_slice(written);
            return Spill::InArena(segment, range);
        }
        let mut bytes = large_vec::with_room(written.len().saturating_add(more));
        bytes.extend_from_slice(written);
        Spill::Heap(bytes)
    }

    /// Leaves the arena if the item gets larger than its segment.
    fn grow(&mut self, more: usize) {
        if let Spill::InArena(segment, range) = self {
            let bytes = segment.bytes_mut();
            if more > bytes.len() - range.end {
                // To the heap, which can grow again: the segment was taken for a size that has proved wrong.
                *self = Spill::begin(&bytes[range.clone()], more, None);
            }
        }
    }

    /// Room for `n` bytes, to be written by the caller.
    fn room(&mut self, n: usize) -> &mut [u8] {
        self.grow(n);
        match self {
            Spill::Heap(bytes) => {
                large_vec::reserve(bytes, n);
                let start = bytes.len();
                bytes.resize(start + n, 0);
                &mut bytes[start..]
            }
            Spill::InArena(segment, range) => {
                let start = range.end;
                range.end += n;
                &mut segment.bytes_mut()[start..range.end]
            }
        }
    }

    fn put(&mut self, more: &[u8]) {
        self.grow(more.len());
        match self {
            Spill::Heap(bytes) => {
                large_vec::reserve(bytes, more.len());
                pool_ipc::append(bytes, more);
            }
            Spill::InArena(..) => pool_ipc::copy(self.room(more.len()), more),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Spill::Heap(bytes) => bytes,
            Spill::InArena(segment, range) => &mut segment.bytes_mut()[range.clone()],
        }
    }

    /// The item as a vector. A copy only if it is in the arena.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Spill::Heap(bytes) => bytes,
            Spill::InArena(..) => self.to_vec(),
        }
    }
}

impl Deref for Spill {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Spill::Heap(bytes) => bytes,
            Spill::InArena(segment, range) => &segment.bytes()[range.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use pool_ipc::Hub;

    use super::*;

    /// An item of three parts, of which the second is large.
    fn encode(out: &mut Encoder<'_>, parts: [&[u8]; 3]) -> Option<Spill> {
        let body = |out: &mut Encoder<'_>| {
            out.put(parts[0]);
            out.room(parts[1].len()).copy_from_slice(parts[1]);
            out.put(parts[2]);
            Ok(())
        };
        out.item(None, body).expect("it can be encoded")
    }

    #[test]
    fn large_items_go_to_the_arena_with_their_numbers_aligned() {
        let (hub, _memory) = Hub::create_with_large(0, 1 << 20).unwrap();
        let large: Vec<u8> = (0..LARGE_BYTES).map(|at| at as u8).collect();
        let many = vec![7; 200 << 10];
        for (first, last) in
            [(&b"12345678"[..], &b""[..]), (b"", b"end"), (b"123", &many), (&many[..LARGE_BYTES], &many)]
        {
            let expected =
                [&((first.len() + large.len() + last.len()) as u32).to_le_bytes(), first, &large, last].concat();
            let mut fixed = [0; 100];
            for arena in [Some(hub.arena()), None] {
                let mut out = Encoder::with_arena(&mut fixed, arena);
                let before = |out: &mut Encoder<'_>| {
                    out.put(b"before");
                    Ok(())
                };
                assert!(out.item(None, before).unwrap().is_none());
                let mut spill = encode(&mut out, [first, &large, last]).expect("it does not fit");
                assert_eq!(out.used(), FRAME + 6, "nothing of it is left here");
                let fits = last.len() < 100;
                assert_eq!(matches!(spill, Spill::InArena(..)), arena.is_some() && fits);
                if matches!(spill, Spill::InArena(..)) {
                    assert!(spill.bytes_mut()[FRAME + first.len()..].as_ptr().addr().is_multiple_of(LARGE_ALIGN));
                }
                assert!(spill.bytes_mut() == expected && spill.into_vec() == expected);
            }
        }
    }

    #[test]
    fn small_items_and_items_without_room_go_to_the_heap() {
        let (hub, _memory) = Hub::create_with_large(0, 2 * LARGE_BYTES).unwrap();
        let sizes = [(LARGE_BYTES - 1, false), (LARGE_BYTES, true), (2 * LARGE_BYTES, false)];
        for (bytes, is_in_arena) in sizes {
            let mut out = Encoder::with_arena(&mut [], Some(hub.arena()));
            let spill = encode(&mut out, [b"", &vec![1; bytes], b""]).expect("it does not fit");
            assert_eq!(matches!(spill, Spill::InArena(..)), is_in_arena, "{bytes}");
        }
    }
}
