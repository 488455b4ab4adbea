//! A block that is being filled.
//!
//! A short block is encoded into memory of the host's and sent from there. A long one goes to the arena, where workers read
//! it: it is encoded there, if they are near; else into memory that this CPU has in its caches, and from there on to the
//! arena, past the caches, whenever that memory is full.

use std::time::{Duration, Instant};

use pool_ipc::{SEGMENT_BYTES, Segment};

use crate::job::block::Block;
use crate::job::content::Content;

#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    first: u64,
    items: u32,
    /// Encoded items that have not gone to the segment. Without a segment these are all.
    bytes: Vec<u8>,
    /// Bytes in use, of this memory or of the segment.
    used: usize,
    segment: Option<Segment>,
    /// Items are not encoded in the segment.
    is_staged: bool,
    /// Bytes that have gone there.
    sent: usize,
}

/// Where further items can be encoded; how many items there are, and bytes before that place.
pub(crate) type Parts<'d> = (&'d mut [u8], &'d mut u32, &'d mut usize);

/// Encoded bytes that go to the arena together: few enough for a CPU's first cache, with the items that they are made of.
/// Measured: 256 bytes to 4 KiB make no difference, 16 KiB take a quarter longer, 32 KiB half as long again.
const STAGE_BYTES: usize = 4 << 10;

impl BlockBuilder {
    /// Begins a block of `length` bytes for items from `first` on. The memory may hold anything.
    pub(crate) fn new(first: u64, length: usize, mut bytes: Vec<u8>) -> Self {
        // Memory of an earlier block is as long already, so mostly nothing is written here.
        bytes.resize(length, 0);
        BlockBuilder { first, bytes, ..BlockBuilder::default() }
    }

    /// Begins a block for as many items of `size` bytes as the segment holds.
    pub(crate) fn in_arena(first: u64, size: usize, segment: Segment, bytes: Vec<u8>) -> Self {
        // A worker on the same cache reads it from there; for others a write past the caches saves fetching the lines
        // first.
        let is_staged = segment.is_far();
        BlockBuilder { segment: Some(segment), is_staged, ..BlockBuilder::new(first, STAGE_BYTES.max(size), bytes) }
    }

    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    #[inline]
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        let place = match &mut self.segment {
            None => &mut self.bytes,
            Some(segment) if !self.is_staged => segment.bytes_mut(),
            Some(_) => {
                // No more than the segment still takes, or an encoded item would have no place there.
                let end = self.bytes.len().min(SEGMENT_BYTES - self.sent);
                &mut self.bytes[..end]
            }
        };
        (&mut place[self.used..], &mut self.items, &mut self.used)
    }

    /// Takes an item that is encoded already.
    pub(crate) fn put(&mut self, item: &[u8]) {
        let (place, items, used) = self.parts();
        place[..item.len()].copy_from_slice(item);
        *items += 1;
        *used += item.len();
    }

    /// Makes room for so many bytes more in the segment; false if there is none.
    pub(crate) fn make_room(&mut self, bytes: usize) -> bool {
        let Some(segment) = self.segment.as_mut().filter(|_| self.is_staged) else { return false };
        // Past the caches: the host does not read these bytes again.
        segment.stream(self.sent, &self.bytes[..self.used]);
        self.sent += self.used;
        self.used = 0;
        bytes <= SEGMENT_BYTES - self.sent
    }

    /// The block, if there are any items. Memory that it does not need goes to `spare`.
    pub(crate) fn finish(self, item_size: Option<usize>, spare: &mut Vec<Vec<u8>>) -> Option<Block> {
        let BlockBuilder { first, items, mut bytes, used, segment, is_staged, sent } = self;
        let content = match segment {
            Some(mut segment) => {
                if is_staged {
                    segment.stream(sent, &bytes[..used]);
                }
                // The stage is of no use to the block, and the next block needs one.
                spare.push(bytes);
                Content::InArena(segment.finish(), 0..sent + used)
            }
            None => {
                bytes.truncate(used);
                Content::Own(bytes)
            }
        };
        (items > 0).then(|| Block::new(first, items, item_size, content))
    }
}

/// Tells when a block has waited long enough.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Items at which the time is looked at next.
    pub(crate) check_at: u32,
    since: Option<Instant>,
}

/// An item is not kept waiting for its block to fill for longer than this.
const BLOCK_TIME: Duration = Duration::from_micros(100);

impl Clock {
    pub(crate) fn begin() -> Self {
        Clock { check_at: 0, since: Some(Instant::now()) }
    }

    /// Whether a block of so many items should go. The time is read after 1, 4, 16, 64 ... items.
    #[inline]
    pub(crate) fn is_due(&mut self, items: u32) -> bool {
        items > self.check_at && self.look(items)
    }

    fn look(&mut self, items: u32) -> bool {
        // Seldom: reading the clock takes as long as encoding several numbers.
        self.check_at = 4 * items;
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        now - since > BLOCK_TIME
    }
}

#[cfg(test)]
mod tests {
    use pool_ipc::Hub;

    use super::*;

    /// Fills a block with so many items of so many bytes, each of them its number; the items that found room.
    fn fill(mut block_builder: BlockBuilder, items: usize, size: usize) -> (usize, Option<Block>) {
        let mut filled = 0;
        while filled < items {
            let (room, count, used) = block_builder.parts();
            if room.len() >= size {
                room[..size].fill(filled as u8);
                (*count, *used) = (*count + 1, *used + size);
                filled += 1;
            } else if !block_builder.make_room(size) {
                break;
            }
        }
        assert_eq!(block_builder.items() as usize, filled);
        (filled, block_builder.finish(Some(size), &mut Vec::new()))
    }

    #[test]
    fn items_of_any_size_stand_one_behind_the_other() {
        let (hub, _fd) = Hub::create(1).unwrap();
        for size in [1, 7, 8, 16, 100, 3000, STAGE_BYTES, STAGE_BYTES + 1, SEGMENT_BYTES] {
            let most = SEGMENT_BYTES / size;
            for (items, is_staged) in
                [1, most / 2, most - 1, most, most + 1].into_iter().flat_map(|items| [(items, false), (items, true)])
            {
                let segment = hub.arena().take().expect("it is free again");
                let block_builder = BlockBuilder { is_staged, ..BlockBuilder::in_arena(5, size, segment, vec![9; 10]) };
                let (filled, block) = fill(block_builder, items, size);
                assert_eq!(filled, items.min(most), "{items} items of {size} bytes");
                let Some(block) = block else {
                    assert_eq!(filled, 0);
                    continue;
                };
                assert_eq!(block.range(), (5, filled as u32));
                let expected: Vec<_> = (0..filled).flat_map(|item| vec![item as u8; size]).collect();
                assert!(block.bytes()[..] == expected, "{items} items of {size} bytes");
            }
        }
    }

    #[test]
    fn a_short_block_keeps_its_memory() {
        let (filled, block) = fill(BlockBuilder::new(0, 1000, Vec::new()), 400, 3);
        assert_eq!((filled, block.unwrap().bytes().len()), (333, 999));
        let mut spare = Vec::new();
        assert!(BlockBuilder::new(0, 10, Vec::new()).finish(None, &mut spare).is_none());
    }
}
