//! Confirmation that a tuple struct reads the fields that it writes.
//!
//! `struct T(u8, #[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8)` writes as many fields as it reads, and
//! has no names that could be compared; so does a struct with names if a field is read by an `alias` that is another
//! field's name. Values alone can tell. A value that holds such a type is encoded again and compared with the bytes that
//! it was read from. If they differ, a field was taken for another, and the value is refused.
//!
//! **Equal bytes are right.** Let `w` be a field that is written and not read. It arrives as its default, so in equal
//! bytes it was the default before. A field that is read and not written takes the place of the next one that is
//! written, and so on until such a `w`; so every field in that chain was the default, and a field that was not written
//! arrives as a default, as it would with `#[serde(skip)]`.
//!
//! **A type is confirmed** once each field has been read with two different contents in values that were equal: `w` can
//! have no more than one content in such values. From then on its values cost nothing. A type in which no field can be
//! hidden, because its fields are as large as itself, is never looked at.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::codec::trace::{Group, Trace};

/// The state of a type's confirmation.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Confirmed,
    /// One value was refused, and so are all from now on.
    Refused,
    Open {
        /// The contents of the fields of the first value.
        first: Vec<u64>,
        /// The fields that have been seen with other contents.
        varied: Vec<bool>,
    },
}

// One table for each thread: decoding takes no lock, and a thread learns from a few values.
thread_local! {
    static KNOWN: RefCell<BTreeMap<TypeId, State>> = const { RefCell::new(BTreeMap::new()) };
    /// Values of open types since the last one that taught something.
    static UNEVENTFUL: Cell<u32> = const { Cell::new(0) };
}

/// Values of open types that are looked at field by field in a row.
const EAGER_VALUES: u32 = 64;

/// After that, about one value of 2 to this power is looked at.
const LATER_BITS: u32 = 6;

pub(crate) fn is_confirmed(identity: TypeId) -> bool {
    KNOWN.with_borrow(|known| matches!(known.get(&identity), Some(State::Confirmed)))
}

pub(crate) fn is_refused(identity: TypeId) -> bool {
    KNOWN.with_borrow(|known| matches!(known.get(&identity), Some(State::Refused)))
}

/// True for values of which the fields are to be looked at one by one, which takes longer than to compare the whole: all,
/// until nothing has come of it for a while, then a few.
pub(crate) fn is_due() -> bool {
    let values = UNEVENTFUL.get().wrapping_add(1);
    UNEVENTFUL.set(values);
    // Multiples of the golden ratio: spread evenly, and in no step with types that take turns.
    values <= EAGER_VALUES || values.wrapping_mul(0x9e37_79b9) >> (u32::BITS - LATER_BITS) == 0
}

/// Takes note of the contents of these types in a value that was equal. True if all of them are confirmed.
pub(crate) fn learn(read: &Trace, suspects: &[TypeId]) -> bool {
    let mut all_confirmed = true;
    for group in read.groups() {
        let Some(identity) = group.identity.filter(|identity| suspects.contains(identity)) else { continue };
        // A new type makes values worth looking at again, whatever the others have taught.
        KNOWN.with_borrow_mut(|known| {
            let state = known.entry(identity).or_insert_with(|| {
                UNEVENTFUL.set(0);
                State::Open { first: group.first.clone(), varied: vec![false; group.first.len()] }
            });
            state.observe(group);
            all_confirmed &= matches!(state, State::Confirmed);
        });
    }
    all_confirmed
}

impl State {
    fn observe(&mut self, group: &Group) {
        let State::Open { first, varied } = self else { return };
        let before = varied.clone();
        // A field varies within this value, or from the first value to this one.
        for (index, varied) in varied.iter_mut().enumerate() {
            *varied |= group.varied.get(index) == Some(&true) || group.first.get(index) != first.get(index);
        }
        if *varied != before {
            UNEVENTFUL.set(0);
        }
        if varied.iter().all(|&varied| varied) {
            *self = State::Confirmed;
        }
    }
}

/// The first of these types with values that are written otherwise than they were read, or were in an earlier value. It
/// is refused from now on. If the value `is_equal` as a whole, no type is to blame; if not, the cause may be another type,
/// one that changes its values on the way.
pub(crate) fn crossed<'r>(read: &'r Trace, written: &Trace, suspects: &[TypeId], is_equal: bool) -> Option<&'r Group> {
    read.groups().iter().find(|group| {
        let Some(identity) = group.identity.filter(|identity| suspects.contains(identity)) else { return false };
        // The same groups on both sides are told by their names: a serializer knows no types.
        let differs = !is_equal && read.sum(&group.place) != written.sum(&group.place);
        if differs {
            KNOWN.with_borrow_mut(|known| known.insert(identity, State::Refused));
        }
        differs || is_refused(identity)
    })
}

/// Reads a value once more, for the notes taken on the way, and drops it. If the drop panics, so will the drop of the value
/// that was read first; both at a time would abort the process.
pub(crate) fn discard<T>(read: impl FnOnce() -> T) {
    // The panic hook has reported it already, and the caller goes on with the value that it has.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(read())));
}

/// Why a value of the type is refused.
#[cold]
pub(crate) fn text(name: &str, remedy: &str) -> String {
    format!(
        "`{name}`: a field is skipped in writing and another in reading (serde's `skip_serializing` and \
         `skip_deserializing`, or an implementation by hand), so that one would be taken for the other: remove these \
         attributes, or use `skip`, or {remedy}"
    )
}
