//! The contents of a value as they were read or written, in a form that does not depend on the order of map entries.
//!
//! Two encodings of one value may differ, because the entries of hash maps and sets have no order. So nested parts are
//! summed up: the elements of a sequence or map by a sum, which is blind to their order, and the fields of a struct by a
//! hash, which is not. A trace exists only for the few values that are compared, see [`confirm`](super::confirm).

use std::any::TypeId;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The sums of one value's parts.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Bytes that have been summed up.
    done: usize,
    /// The groups of parts around the current place, the outermost first. Never empty.
    open: Vec<Frame>,
    groups: Vec<Group>,
}

#[derive(Debug, Default)]
struct Frame {
    /// The part that is being read or written.
    part: DefaultHasher,
    /// The parts before it.
    parts: Vec<u64>,
    /// The sum of the elements before it.
    sum: u64,
}

/// A struct, tuple struct, variant or tuple.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// The name of the struct or enum. Empty for a tuple.
    pub(crate) type_name: &'static str,
    /// Tells the variants of an enum apart.
    pub(crate) variant: u64,
    /// The name in errors.
    pub(crate) name: String,
}

impl Place {
    /// The place of a tuple struct, or of a variant if that is not empty.
    #[cfg(feature = "cbor")]
    pub(crate) fn of(type_name: &'static str, variant: &str) -> Self {
        if variant.is_empty() {
            return Place { type_name, variant: 0, name: type_name.to_owned() };
        }
        // The serializer knows a variant's index, the deserializer its name only, so the name's hash is its number.
        let mut hasher = DefaultHasher::new();
        variant.hash(&mut hasher);
        Place { type_name, variant: hasher.finish(), name: format!("{type_name}::{variant}") }
    }
}

/// All occurrences of one struct or variant in the value.
#[derive(Debug)]
pub(crate) struct Group {
    /// The type that reads it. Unknown where it is written, because a serializer is told no more than the name.
    pub(crate) identity: Option<TypeId>,
    pub(crate) place: Place,
    /// The sum of the occurrences' hashes.
    sum: u64,
    /// The fields of the first occurrence.
    pub(crate) first: Vec<u64>,
    /// True for each field with contents that were not always the same.
    pub(crate) varied: Vec<bool>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Trace { done: 0, open: vec![Frame::default()], groups: Vec::new() }
    }

    /// All groups, those that are nested before those around them.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn current(&mut self) -> &mut Frame {
        // Not a panic: this runs in a thread of the user's, and a wrong trace costs no more than a refused value.
        if self.open.is_empty() {
            self.open.push(Frame::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Sums up the bytes that have been read or written since the last time; `bytes` are all.
    fn advance(&mut self, bytes: &[u8]) {
        let new = bytes.get(self.done..).unwrap_or_default();
        // Each byte belongs to the innermost part that is open when it comes.
        self.done = bytes.len();
        self.current().part.write(new);
    }

    /// A sequence, map, struct or tuple begins here.
    pub(crate) fn open(&mut self, bytes: &[u8]) {
        self.advance(bytes);
        self.open.push(Frame::default());
    }

    /// One of its elements, entries or fields ends here.
    pub(crate) fn end_part(&mut self, bytes: &[u8]) {
        self.advance(bytes);
        let frame = self.current();
        let hash = std::mem::take(&mut frame.part).finish();
        frame.sum = frame.sum.wrapping_add(hash);
        frame.parts.push(hash);
    }

    /// A sequence or map ends.
    pub(crate) fn close_sequence(&mut self) {
        let frame = self.open.pop().unwrap_or_default();
        // With the number of parts, or two equal parts that cancel each other out would be as none.
        (frame.sum, frame.parts.len()).hash(&mut self.current().part);
    }

    /// A struct or tuple ends.
    pub(crate) fn close_fields(&mut self, identity: Option<TypeId>, place: Place) {
        let Frame { parts, .. } = self.open.pop().unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        let hash = hasher.finish();
        // The part around it gets one number in place of all of its bytes, so that their order within maps does not count.
        self.current().part.write_u64(hash);
        let is_it = |group: &&mut Group| group.identity == identity && group.place == place;
        match self.groups.iter_mut().find(is_it) {
            // Another number of fields under the same name is another group: its fields cannot be compared one by one.
            Some(group) if group.first.len() == parts.len() => {
                group.sum = group.sum.wrapping_add(hash);
                let fields = group.varied.iter_mut().zip(group.first.iter().zip(&parts));
                fields.for_each(|(varied, (first, part))| *varied |= first != part);
            }
            _ => {
                let varied = vec![false; parts.len()];
                self.groups.push(Group { identity, place, sum: hash, first: parts, varied });
            }
        }
    }

    /// The hash of the whole, after its last byte.
    pub(crate) fn finish(&mut self, bytes: &[u8]) -> u64 {
        self.advance(bytes);
        self.current().part.finish()
    }

    /// The sum of all occurrences of a struct or variant.
    pub(crate) fn sum(&self, place: &Place) -> u64 {
        let is_it = |group: &&Group| (group.place.type_name, group.place.variant) == (place.type_name, place.variant);
        self.groups.iter().filter(is_it).fold(0, |sum, group| sum.wrapping_add(group.sum))
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Trace};

    fn place() -> Place {
        Place { type_name: "T", variant: 0, name: "T".into() }
    }

    /// Pairs of bytes within a sequence.
    fn trace(pairs: &[[u8; 2]]) -> (u64, Trace) {
        let bytes = pairs.as_flattened();
        let mut trace = Trace::new();
        trace.open(&[]);
        for end in (2..=bytes.len()).step_by(2) {
            trace.open(&bytes[..end - 2]);
            trace.end_part(&bytes[..end - 1]);
            trace.end_part(&bytes[..end]);
            trace.close_fields(None, place());
            trace.end_part(&bytes[..end]);
        }
        trace.close_sequence();
        (trace.finish(bytes), trace)
    }

    #[test]
    fn elements_have_no_order_and_fields_have_one() {
        assert_eq!(trace(&[[1, 2], [3, 4]]).0, trace(&[[3, 4], [1, 2]]).0);
        assert_ne!(trace(&[[1, 2], [3, 4]]).0, trace(&[[2, 1], [3, 4]]).0);
        assert_ne!(trace(&[[1, 2], [3, 4]]).0, trace(&[[1, 4], [3, 2]]).0);
        assert_ne!(trace(&[[1, 2]]).0, trace(&[[1, 2], [1, 2]]).0);
    }

    #[test]
    fn fields_that_vary_are_told() {
        let (_, same) = trace(&[[1, 2], [1, 2]]);
        assert_eq!(same.groups()[0].varied, [false, false]);
        let (_, second) = trace(&[[1, 2], [1, 3]]);
        assert_eq!(second.groups()[0].varied, [false, true]);
        assert_ne!(same.sum(&place()), second.sum(&place()));
        assert_eq!(second.sum(&place()), trace(&[[1, 3], [1, 2]]).1.sum(&place()));
    }
}
