//! Divides a range of memory among pieces of any size, first fit.

use std::collections::BTreeMap;
use std::ops::Range;

/// Pieces are multiples of this, so that two never share a cache line.
const UNIT_BYTES: usize = 4 << 10;

/// The parts of a range that have no owner. Memory for it is taken from its start on, as far as it was needed so far.
#[derive(Debug)]
pub(crate) struct Extents {
    range: Range<usize>,
    /// Free pieces by their start, never two side by side; each is followed by its end.
    free: BTreeMap<usize, usize>,
    /// Memory has been taken up to here.
    fresh_from: usize,
}

impl Extents {
    /// All of `range` is free and has no memory.
    pub(crate) fn new(range: Range<usize>) -> Extents {
        let free = (!range.is_empty()).then_some((range.start, range.end));
        Extents { fresh_from: range.start, free: free.into_iter().collect(), range }
    }

    /// Bytes of the longest piece that there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.range.len()
    }

    /// Takes a piece of at least `bytes` bytes; also returns the part of it for which memory is still to be taken.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<(Range<usize>, Range<usize>)> {
        let bytes = bytes.checked_next_multiple_of(UNIT_BYTES)?;
        let (start, end) = self.find(bytes)?;
        let piece = start..start + bytes;
        self.free.remove(&start);
        if piece.end < end {
            self.free.insert(piece.end, end);
        }
        // Memory is taken from low addresses up, so one bound tells which part of the piece has none yet.
        let fresh = piece.start.max(self.fresh_from)..piece.end.max(self.fresh_from);
        self.fresh_from = fresh.end;
        Some((piece, fresh))
    }

    /// True if [`take`](Extents::take) would find such a piece.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes.checked_next_multiple_of(UNIT_BYTES).is_some_and(|bytes| self.find(bytes).is_some())
    }

    /// The first free piece that is long enough. The first has memory, if any has.
    fn find(&self, bytes: usize) -> Option<(usize, usize)> {
        let fits = |&(start, end): &(&usize, &usize)| end - start >= bytes && bytes > 0;
        self.free.iter().find(fits).map(|(start, end)| (*start, *end))
    }

    /// Gives a piece back.
    pub(crate) fn give_back(&mut self, piece: Range<usize>) {
        // Joined with its free neighbours at once, so that large pieces come back and no pass over the list is needed.
        let Range { mut start, mut end } = piece;
        if let Some((&before, &its_end)) = self.free.range(..start).next_back()
            && its_end == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(its_end) = self.free.remove(&end) {
            end = its_end;
        }
        // The rest was cut off because there is no memory for it.
        let end = end.min(self.range.end);
        if start < end {
            self.free.insert(start, end);
        }
    }

    /// There is no memory from `end` on, so nothing there is given out any more.
    pub(crate) fn stop_at(&mut self, end: usize) {
        self.range.end = self.range.end.min(end);
        self.fresh_from = self.fresh_from.min(end);
        let beyond: Vec<_> = self.free.range(end..).map(|(start, _)| *start).collect();
        beyond.iter().for_each(|start| _ = self.free.remove(start));
        if let Some((_, last_end)) = self.free.range_mut(..end).next_back() {
            *last_end = (*last_end).min(end);
        }
    }
}
