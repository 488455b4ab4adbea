//! The contributions of structs and variants to the sum, remembered by the addresses of their lists of names: where
//! serde's derive passes a list it is a static, and to look it up takes less than to go through the names.

use std::any::TypeId;
use std::cell::Cell;
use std::hash::{Hash, Hasher};

use super::enums::Names;
use super::shape::Owner;

/// A list, and how much of it. Two that have one key cost time and no more: the sums differ, and the value is compared.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Key(u64);

const NUMBER_BITS: u32 = 16;
const ENTRIES_BITS: u32 = 8;

thread_local! {
    /// Each total stands at a place that its key gives, and replaces the one that was there.
    static RECENT: [Cell<(Key, u64)>; 1 << ENTRIES_BITS] =
        const { [const { Cell::new((Key(0), 0)) }; 1 << ENTRIES_BITS] };
}

impl Key {
    /// The first fields of a list; an empty one stands for fields without names.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn fields(owner: Owner, names: Names, read: usize) -> Key {
        // Addresses have 48 bits at most, so the shift loses nothing; the halves of the key overlap, which a mix allows.
        let list = (names.as_ptr().addr() as u64) << NUMBER_BITS ^ read as u64;
        let name = owner.type_name;
        let number = (owner.number() as u64) << NUMBER_BITS ^ name.len() as u64;
        Key(list ^ (name.as_ptr().addr() as u64).rotate_right(NUMBER_BITS) ^ number.rotate_right(NUMBER_BITS))
    }

    /// The same for this type only: a type with the same names may not be confirmed.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn of_type(self, identity: TypeId) -> Key {
        let mut word = Word(0);
        identity.hash(&mut word);
        Key(self.0 ^ word.0)
    }

    /// A variant of an enum with an exact list.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn variant(name: &'static str, names: Names, index: u32) -> Key {
        let list = (names.as_ptr().addr() as u64) << NUMBER_BITS ^ u64::from(index);
        // Inverted, so that a variant's key is none of a struct with the same list.
        Key(!list
            ^ (name.as_ptr().addr() as u64).rotate_right(NUMBER_BITS)
            ^ (names.len() as u64).rotate_right(NUMBER_BITS))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn place(self) -> usize {
        // Addresses differ in their middle bits; the product's high bits depend on all of them.
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - ENTRIES_BITS)) as usize
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn look_up(self) -> Option<u64> {
        let (key, total) = RECENT.with(|recent| recent[self.place()].get());
        (key == self).then_some(total)
    }

    pub(super) fn remember(self, total: u64) {
        RECENT.with(|recent| recent[self.place()].set((self, total)));
    }
}

/// Takes a type's identity, which is a hash already.
struct Word(u64);

impl Hasher for Word {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn finish(&self) -> u64 {
        self.0
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}
