//! Notes about a value that is read a second time, because it may have a field that was taken for another.

use std::any::TypeId;

use crate::codec::trace::{Place, Trace};

/// The kinds of doubt about a value that has been read, as bits.
pub(super) mod doubt {
    /// A type that may read other fields than it writes.
    pub(in crate::codec::cbor) const OPEN: u8 = 1;
    /// A type that has been seen to do so.
    pub(in crate::codec::cbor) const REFUSED: u8 = 2;
    /// An array that was read without a type, so that it may have been such a tuple struct.
    pub(in crate::codec::cbor) const UNTYPED: u8 = 4;
}

/// Notes all parts of a value.
pub(super) struct Watched<'a> {
    whole: &'a [u8],
    pub(super) trace: Trace,
    /// The types of which a field may have been taken for another.
    pub(super) suspects: Vec<TypeId>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(whole: &'a [u8]) -> Self {
        Watched { whole, trace: Trace::new(), suspects: Vec::new() }
    }

    fn read(&self, rest: &'a [u8]) -> &'a [u8] {
        &self.whole[..self.whole.len() - rest.len()]
    }

    pub(super) fn open(&mut self, rest: &'a [u8]) {
        self.trace.open(self.read(rest));
    }

    pub(super) fn end_part(&mut self, rest: &'a [u8]) {
        self.trace.end_part(self.read(rest));
    }

    pub(super) fn close_fields(&mut self, identity: TypeId, place: Place, is_open: bool) {
        self.trace.close_fields(Some(identity), place);
        // A value may have millions of one type, and each type is judged once.
        if is_open && !self.suspects.contains(&identity) {
            self.suspects.push(identity);
        }
    }
}
