//! Which enums list exactly the variants that their index counts.
//!
//! The derive gives a list of names, and reads an index. The list has the aliases, too, and lacks the variants that are
//! skipped, so that its n-th name may be another variant's than the n-th. Serde tells the number of variants only in the
//! error about an index that is too large; so each enum is asked once for such an error.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::codec::error::CodecError;

/// The names of fields or variants, as serde's derive lists them.
pub(super) type Names = &'static [&'static str];

/// The identity of an enum: its name and its list.
pub(super) type Key = (&'static str, Names);

/// The enums of one value that need another look.
#[derive(Debug, Default)]
pub(super) struct Enums {
    /// Met for the first time in this thread.
    pub(super) new: Vec<Key>,
    /// An enum was met with a list that does not say which variant an index is.
    pub(super) inexact: bool,
    /// The enum that is being asked, and its answer.
    pub(super) asked: Option<(Key, Option<bool>)>,
}

thread_local! {
    /// All enums that have been asked.
    static KNOWN: RefCell<BTreeMap<(usize, usize, usize), bool>> = const { RefCell::new(BTreeMap::new()) };
}

// Both are statics of serde's derive, so addresses are enough, and comparing them takes less than comparing text. An
// implementation by hand that passes other addresses each time is asked each time.
fn address((name, names): Key) -> (usize, usize, usize) {
    (name.as_ptr().addr(), names.as_ptr().addr(), names.len())
}

/// True if the enum's list is known to be exact.
pub(super) fn is_exact(key: Key) -> bool {
    KNOWN.with_borrow(|known| known.get(&address(key)).copied()) == Some(true)
}

impl Enums {
    /// An enum is met.
    pub(super) fn meet(&mut self, key: Key) {
        match KNOWN.with_borrow(|known| known.get(&address(key)).copied()) {
            Some(true) => {}
            Some(false) => self.inexact = true,
            None if self.new.contains(&key) => {}
            None => self.new.push(key),
        }
    }

    /// True if this enum is to be asked.
    pub(super) fn asks(&self, key: Key) -> bool {
        matches!(&self.asked, Some((asked, None)) if address(*asked) == address(key))
    }

    /// Records the enum's answer to an index that is too large.
    pub(super) fn answer<T>(&mut self, answer: &Result<T, CodecError>) {
        let Some(((_, names), exact)) = &mut self.asked else { return };
        *exact = Some(match answer {
            // The variant with `#[serde(other)]` stands for all that are too large.
            Ok(_) => false,
            Err(fault) => variants(&fault.to_string()).is_none_or(|variants| variants == names.len()),
        });
    }

    /// Keeps the answer. An enum that never heard the question has its index from elsewhere.
    pub(super) fn remember(&self) {
        if let Some((key, exact)) = self.asked {
            KNOWN.with_borrow_mut(|known| known.insert(address(key), exact.unwrap_or(true)));
        }
    }
}

/// The name of a variant. An index past the end is for the type to refuse.
pub(super) fn variant_name(names: Names, index: u32) -> &'static str {
    names.get(index as usize).copied().unwrap_or("")
}

/// The number of variants in the words of serde's derive; implementations by hand have no aliases.
fn variants(error: &str) -> Option<usize> {
    let (_, rest) = error.split_once("variant index 0 <= i < ")?;
    rest.split(' ').next()?.parse().ok()
}
