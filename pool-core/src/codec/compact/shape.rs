//! The shape of a value: the names of the fields that were written, or read.
//!
//! Each struct, and each variant of an enum, contributes one number that is made of its name and those of its fields in
//! their order. The contributions are added up, so that the order of a map's entries is of no account; without the name
//! of the struct, two that leave out a field on opposite sides would have the sum of two that leave out none. Names are
//! constants where serde's derive passes them, so that in an optimized build a struct costs one addition.

// Where a build is optimized, the functions that take names must be inlined, or these are no constants; where it is not,
// they would only make the frames of nested values larger.

use crate::codec::trace::Place;

/// The contribution of a struct or a variant to the sum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Shape(u64);

// The golden ratio in 64 bits, odd: multiplying by it loses nothing and spreads the low bits upwards.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The struct, tuple or variant that has the fields.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Owner {
    /// The name of the struct or enum. Empty for a tuple.
    pub(super) type_name: &'static str,
    /// The variant's index, and its name, which may be another one where it is read.
    pub(super) variant: Option<(u32, &'static str)>,
}

impl Owner {
    pub(super) const TUPLE: Owner = Owner { type_name: "", variant: None };

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn structure(type_name: &'static str) -> Owner {
        Owner { type_name, variant: None }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn variant(type_name: &'static str, index: u32, name: &'static str) -> Owner {
        Owner { type_name, variant: Some((index, name)) }
    }

    /// A number that tells variants of one enum from each other. It is no name, since a list of names may have aliases.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn number(self) -> usize {
        self.variant.map_or(0, |(index, _)| 1 + index as usize)
    }

    pub(super) fn is(self, other: Owner) -> bool {
        self.type_name == other.type_name && self.number() == other.number()
    }

    /// As a trace knows it.
    pub(super) fn place(self) -> Place {
        let name = match self.variant {
            Some((_, variant)) => format!("{}::{variant}", self.type_name),
            None => self.type_name.to_owned(),
        };
        Place { type_name: self.type_name, variant: self.number() as u64, name }
    }

    /// The name in errors.
    pub(super) fn name(self) -> &'static str {
        self.variant.map_or(self.type_name, |(_, name)| name)
    }
}

impl Shape {
    /// A struct or struct variant: fields with names.
    pub(crate) const NAMED: Shape = Shape(0x243f_6a88_85a3_08d3);
    /// A tuple struct or tuple variant: fields without names.
    pub(crate) const TUPLE: Shape = Shape(0x1319_8a2e_0370_7344);
    /// A variant that holds one value without a name.
    pub(crate) const NEWTYPE: Shape = Shape(0x082e_fa98_ec4e_6c89);
    /// The choice of a variant.
    const VARIANT: Shape = Shape(0xa409_3822_299f_31d0);

    /// With one more field (or the variant) of this name.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn name(self, name: &str) -> Shape {
        Shape((self.0.rotate_left(23) ^ hash(name)).wrapping_mul(MULTIPLIER))
    }

    /// The choice of the variant of this index and name.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn chosen(index: u32, name: &str) -> Shape {
        // By both: in a value that has each of two variants once, names alone add up to the same when the two are confused.
        Shape::VARIANT.name(name).nameless(index as usize)
    }

    /// The fields of this one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of(self, owner: Owner) -> Shape {
        // The variant's number is part of it: two variants of one enum may have fields of the same names.
        self.name(owner.type_name).nameless(owner.number())
    }

    /// With so many fields that have no names.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn nameless(self, fields: usize) -> Shape {
        Shape((self.0 ^ fields as u64).wrapping_mul(MULTIPLIER))
    }

    /// The number to be added.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn total(self) -> u64 {
        // Mixed at the end, because totals are added up: without it, fields of two structs could make up for each other.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER);
        mixed ^ (mixed >> 29)
    }
}

/// The sum as it travels.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn fold(sum: u64) -> u32 {
    // Four bytes are sent with each value; eight would cost more than they find.
    (sum ^ (sum >> 32)) as u32
}

/// Straight-line code for names of up to 32 bytes, because the compiler computes no loop in advance.
#[cfg_attr(not(debug_assertions), inline(always))]
fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let length = bytes.len();
    let (first, last) = if length >= 8 {
        let (mut first, mut last) = (word(bytes, 0), word(bytes, length - 8));
        if length > 16 {
            first = mix(first, word(bytes, 8));
            last = mix(last, word(bytes, length - 16));
        }
        if length > 32 {
            first = mix(first, middle(bytes));
        }
        (first, last)
    } else if length >= 4 {
        (half(bytes, 0), half(bytes, length - 4))
    } else if length > 0 {
        (u64::from(bytes[0]) | u64::from(bytes[length / 2]) << 8, u64::from(bytes[length - 1]))
    } else {
        (0, 0)
    };
    mix(mix(first, last), length as u64)
}

// Names this long are rare, and inlined into every struct the loop would be no constant all the same.
#[inline(never)]
fn middle(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0, |sum, chunk| {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        mix(sum, u64::from_le_bytes(padded))
    })
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn half(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes).into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Shape, fold, hash};

    /// Names of every length that differ in one byte, at every place.
    #[test]
    fn names_that_differ_have_different_hashes() {
        let mut seen = HashSet::new();
        for length in 0..70 {
            let name = "a".repeat(length);
            assert!(seen.insert(hash(&name)), "{name}");
            for at in 0..length {
                for other in ["b", "c", "_", "A"] {
                    let mut name = name.clone();
                    name.replace_range(at..=at, other);
                    assert!(seen.insert(hash(&name)), "{name}");
                }
            }
        }
    }

    #[test]
    fn order_number_and_kind_count() {
        let shapes = [
            Shape::NAMED,
            Shape::NAMED.name("a"),
            Shape::NAMED.name("b"),
            Shape::NAMED.name("a").name("b"),
            Shape::NAMED.name("b").name("a"),
            Shape::NAMED.name("ab"),
            Shape::chosen(0, "a"),
            Shape::chosen(1, "a"),
            Shape::TUPLE.nameless(0),
            Shape::TUPLE.nameless(1),
            Shape::TUPLE.nameless(2),
            Shape::NEWTYPE,
        ];
        let folded: HashSet<u32> = shapes.iter().map(|shape| fold(shape.total())).collect();
        assert_eq!(folded.len(), shapes.len());
    }
}
