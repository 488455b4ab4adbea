//! Notes about a value while it is read: none, or all that a comparison needs.

use std::any::TypeId;

use super::enums::{self, Enums, Names, variant_name};
use super::log::Log;
use super::shape::Owner;
use crate::codec::error::CodecError;
use crate::codec::trace::Trace;

/// The fields of a struct, variant or tuple that has been read.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) owner: Owner,
    /// The names with the aliases. Empty for fields without names.
    pub(super) names: Names,
    pub(super) read: usize,
    /// The type that read them.
    pub(super) identity: TypeId,
    /// Another field than was written may have been read, and nothing but values can tell.
    pub(super) is_open: bool,
}

/// Learns of each part of a value while it is read; `rest` is the bytes that have not been read.
pub(super) trait Watch<'a> {
    /// True if all parts are to be told, also those with a remembered total.
    const WATCHES: bool;

    /// A struct, tuple, sequence or map begins.
    fn open(&mut self, _rest: &'a [u8]) {}
    /// One of its parts ends.
    fn end_part(&mut self, _rest: &'a [u8]) {}
    fn close_sequence(&mut self) {}
    fn close_fields(&mut self, _fields: Fields) {}
    fn variant(&mut self, _key: enums::Key, _index: u32) {}
    /// True if this enum is to be asked for the number of its variants.
    fn asks(&self, _key: enums::Key) -> bool {
        false
    }
    fn answer<T>(&mut self, _answer: &Result<T, CodecError>) {}
}

/// Nothing is noted. Each of the methods is empty, so that it costs nothing.
pub(super) struct Unwatched;

impl Watch<'_> for Unwatched {
    const WATCHES: bool = false;
}

/// Notes all parts of a value.
pub(super) struct Watched<'a> {
    whole: &'a [u8],
    pub(super) log: Log,
    pub(super) trace: Trace,
    pub(super) enums: Enums,
    /// The types of which a field may have been taken for another.
    pub(super) suspects: Vec<TypeId>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(whole: &'a [u8], enums: Enums) -> Self {
        Watched { whole, log: Log::default(), trace: Trace::new(), enums, suspects: Vec::new() }
    }

    pub(super) fn read(&self, rest: &'a [u8]) -> &'a [u8] {
        &self.whole[..self.whole.len() - rest.len()]
    }
}

impl<'a> Watch<'a> for Watched<'a> {
    const WATCHES: bool = true;

    fn open(&mut self, rest: &'a [u8]) {
        self.trace.open(self.read(rest));
    }
    fn end_part(&mut self, rest: &'a [u8]) {
        self.trace.end_part(self.read(rest));
    }
    fn close_sequence(&mut self) {
        self.trace.close_sequence();
    }
    fn close_fields(&mut self, Fields { owner, names, read, identity, is_open }: Fields) {
        self.log.read(owner, names, read, identity);
        self.trace.close_fields(Some(identity), owner.place());
        // A value may have millions of one type, and each type is judged once.
        if is_open && !self.suspects.contains(&identity) {
            self.suspects.push(identity);
        }
    }
    fn variant(&mut self, key: enums::Key, index: u32) {
        // The name that the list gives to the index, even if it is wrong: the comparison with the writer's name shows that.
        self.log.variant(key.0, variant_name(key.1, index));
        self.enums.meet(key);
    }
    fn asks(&self, key: enums::Key) -> bool {
        self.enums.asks(key)
    }
    fn answer<T>(&mut self, answer: &Result<T, CodecError>) {
        self.enums.answer(answer);
    }
}
