//! A value that is being read, and the sum of its shape.

use super::doubt;
use super::enums::Names;
use super::reader::Reader;
use super::shape::{Owner, Shape};
use super::totals::Key;
use super::watch::{self, Watch};
use crate::codec::confirm;
use crate::codec::error::CodecError;
use crate::codec::type_identity;

/// Reads one value, and sums up its shape. Serde's side of it stands in `deserialize`.
pub(super) struct Deserializer<'a, W> {
    pub(super) reader: Reader<'a>,
    pub(super) watch: W,
}

impl<'a, W: Watch<'a>> Deserializer<'a, W> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(bytes: &'a [u8], watch: W) -> Self {
        Deserializer { reader: Reader::new(bytes), watch }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn open_sequence(&mut self) -> Result<usize, CodecError> {
        let elements = self.reader.open_sequence()?;
        // Behind the length, which is no part of the first element.
        self.watch.open(self.reader.rest);
        Ok(elements)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn close_sequence(&mut self) {
        self.reader.limits.nesting.leave();
        self.watch.close_sequence();
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn add_struct<V>(&mut self, owner: Owner, names: Names, read: usize) {
        let mut key = Key::fields(owner, names, read);
        if read != names.len() {
            // An alias may be the name of another field that was written, so it takes more than the names.
            key = key.of_type(type_identity::of::<V>());
        }
        // A watched value wants to hear of every struct, so the short way is for the others.
        let known = if W::WATCHES { None } else { key.look_up() };
        let total = match known {
            Some(total) => total,
            None => {
                let is_open = read != names.len();
                let identity = type_identity::of::<V>();
                self.new_fields(key, Shape::NAMED, watch::Fields { owner, names, read, identity, is_open })
            }
        };
        self.reader.add(total);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn add_tuple<V>(&mut self, owner: Owner, read: usize, is_open: bool) {
        let total = if owner.variant.is_none() && !is_open && !W::WATCHES {
            // The name is a constant, and so is the total.
            Shape::TUPLE.of(owner).nameless(read).total()
        } else {
            let mut key = Key::fields(owner, &[], read);
            if is_open {
                key = key.of_type(type_identity::of::<V>());
            }
            match if W::WATCHES { None } else { key.look_up() } {
                Some(total) => total,
                None => {
                    let identity = type_identity::of::<V>();
                    let fields = watch::Fields { owner, names: &[], read, identity, is_open };
                    self.new_fields(key, Shape::TUPLE, fields)
                }
            }
        };
        self.reader.add(total);
    }

    #[cold]
    #[inline(never)]
    fn new_fields(&mut self, key: Key, kind: Shape, fields: watch::Fields) -> u64 {
        let watch::Fields { owner, names, read, identity, is_open } = fields;
        let shape = kind.of(owner);
        let total = match kind {
            Shape::TUPLE => shape.nameless(read).total(),
            _ => names[..read].iter().fold(shape, |shape, name| shape.name(name)).total(),
        };
        self.watch.close_fields(fields);
        // A total is remembered only where it settles the matter: an open type must raise the doubt each time until values
        // have confirmed it.
        if !is_open || confirm::is_confirmed(identity) {
            key.remember(total);
        } else {
            self.reader.doubts |= if confirm::is_refused(identity) { doubt::REFUSED } else { doubt::OPEN };
        }
        total
    }
}
