//! What structs and variants contribute to the sum, remembered by the addresses of their lists of names: where serde's
//! derive passes a list it is a static, and to look it up takes less than to go through the names.

use std::cell::Cell;

type Names = &'static [&'static str];

/// A list, and what of it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Key {
    name: usize,
    list: usize,
    length: usize,
    /// Fields that were read, or the index of a variant with [`VARIANT`].
    number: u64,
}

const VARIANT: u64 = 1 << 32;

const ENTRIES_BITS: u32 = 8;
const NONE: Key = Key { name: 0, list: 0, length: 0, number: 0 };

thread_local! {
    /// Each at a place that its key says; one that was there before makes way.
    static RECENT: [Cell<(Key, u64)>; 1 << ENTRIES_BITS] =
        const { [const { Cell::new((NONE, 0)) }; 1 << ENTRIES_BITS] };
}

impl Key {
    #[inline]
    pub(super) fn fields(name: &'static str, names: Names, read: usize) -> Key {
        Key { name: name.as_ptr().addr(), list: names.as_ptr().addr(), length: names.len(), number: read as u64 }
    }

    #[inline]
    pub(super) fn variant(name: &'static str, names: Names, index: u32) -> Key {
        let number = VARIANT | u64::from(index);
        Key { name: name.as_ptr().addr(), list: names.as_ptr().addr(), length: names.len(), number }
    }

    #[inline]
    fn place(self) -> usize {
        let mixed = (self.list as u64 ^ self.number << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - ENTRIES_BITS)) as usize
    }

    #[inline]
    pub(super) fn look_up(self) -> Option<u64> {
        let (key, total) = RECENT.with(|recent| recent[self.place()].get());
        (key == self).then_some(total)
    }

    pub(super) fn remember(self, total: u64) {
        RECENT.with(|recent| recent[self.place()].set((self, total)));
    }
}
