//! The structs and variants that were written or read, for the comparison of a value with two shapes that differ.

use std::any::TypeId;
use std::collections::BTreeMap;

use super::shape::Owner;

/// Every struct and variant with the number of its occurrences: a value may have millions of the same.
#[derive(Debug, Default)]
pub(super) struct Log {
    written: BTreeMap<Written, usize>,
    read: BTreeMap<Read, usize>,
    variants: BTreeMap<Chosen, usize>,
}

/// A struct's fields as they were written.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Written {
    owner: Owner,
    /// Empty for tuples and tuple structs.
    keys: Vec<&'static str>,
    fields: usize,
}

/// A struct's fields as its type expects them.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Read {
    owner: Owner,
    /// With the aliases. Empty for tuples and tuple structs.
    names: &'static [&'static str],
    fields: usize,
    identity: TypeId,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Chosen {
    name: &'static str,
    variant: &'static str,
}

impl Log {
    pub(super) fn written(&mut self, owner: Owner, keys: Vec<&'static str>, fields: usize) {
        *self.written.entry(Written { owner, keys, fields }).or_default() += 1;
    }

    pub(super) fn read(&mut self, owner: Owner, names: &'static [&'static str], fields: usize, identity: TypeId) {
        *self.read.entry(Read { owner, names, fields, identity }).or_default() += 1;
    }

    pub(super) fn variant(&mut self, name: &'static str, variant: &'static str) {
        *self.variants.entry(Chosen { name, variant }).or_default() += 1;
    }

    /// Checks that each struct of `written` is one of `read`, perhaps by other names of its fields. A struct that is known
    /// by its name on both sides is compared with its like alone, or two that leave out a field on opposite sides would
    /// make up for each other; only a struct that is read as another type (serde's `from` and `into`) may match a stranger.
    ///
    /// Returns the types that are read by other names than they are written, which only values can tell from types that
    /// are wrong.
    ///
    /// # Errors
    ///
    /// The first struct that differs, in words.
    pub(super) fn compare(written: &Log, read: &Log) -> Result<Vec<TypeId>, String> {
        let mut written: Vec<(&Written, usize)> = counted(&written.written);
        let mut expected: Vec<(&Read, usize)> = counted(&read.read);
        // Equal names first, so that a struct with aliases is not taken for another.
        pair(&mut written, &mut expected, Written::is_exactly);
        let named = expected.iter().map(|(read, _)| read).filter(|read| !read.names.is_empty());
        let by_other_names = named.map(|read| read.identity).collect();
        pair(&mut written, &mut expected, |written, read| written.owner.is(read.owner) && written.is(read));
        // A struct that has a namesake on the other side must match that one, so it is reported before strangers are
        // paired.
        let is_read = |written: &Written| expected.iter().any(|(read, _)| written.owner.is(read.owner));
        let lone = written.iter().map(|&(written, _)| written).find(|&written| is_read(written));
        // Strangers last: they stand for each other by their fields alone.
        if lone.is_none() {
            pair(&mut written, &mut expected, Written::is);
        }
        if let Some(written) = lone.or(written.first().map(|&(written, _)| written)) {
            let read = expected.iter().find(|(read, _)| written.owner.is(read.owner)).or(expected.first());
            return Err(written.difference(read.map(|(read, _)| *read)));
        }
        match expected.first() {
            Some((read, _)) => Err(format!("{} read, and not written", read.text())),
            None => Ok(by_other_names),
        }
    }

    /// True if the variants have the same names on both sides.
    pub(super) fn has_same_variants(&self, other: &Log) -> bool {
        self.variants == other.variants
    }

    /// The enums among the values.
    pub(super) fn enums(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.variants.keys().map(|chosen| chosen.name).collect();
        // The map is sorted by the enum's name first, so equal names are neighbours.
        names.dedup();
        names
    }
}

fn counted<T: Ord>(map: &BTreeMap<T, usize>) -> Vec<(&T, usize)> {
    map.iter().map(|(item, &count)| (item, count)).collect()
}

/// Takes equal structs off both sides.
fn pair(
    written: &mut Vec<(&Written, usize)>,
    expected: &mut Vec<(&Read, usize)>,
    same: impl Fn(&Written, &Read) -> bool,
) {
    // By counts, not one by one: a value may have millions of the same struct.
    for (written, count) in written.iter_mut() {
        for (_, available) in expected.iter_mut().filter(|(read, _)| same(written, read)) {
            let matched = (*count).min(*available);
            (*available, *count) = (*available - matched, *count - matched);
        }
    }
    written.retain(|(_, count)| *count > 0);
    expected.retain(|(_, available)| *available > 0);
}

impl Written {
    fn is_tuple(&self) -> bool {
        self.keys.is_empty()
    }

    fn is_exactly(&self, read: &Read) -> bool {
        self.owner.is(read.owner) && self.keys == read.names && self.is(read)
    }

    /// True if there are as many fields, and each name is among those that are read, in the same order. Aliases may stand
    /// between them. Names that differ only in their style come from `rename_all` with two styles.
    fn is(&self, read: &Read) -> bool {
        if self.fields != read.fields {
            return false;
        }
        if self.is_tuple() || read.names.is_empty() {
            return self.is_tuple() && read.names.is_empty();
        }
        // One pass over both lists: names that are skipped between two keys are aliases.
        let mut names = read.names.iter();
        self.keys.iter().all(|key| names.any(|name| key == name || plain(key).eq(plain(name))))
    }

    fn difference(&self, read: Option<&Read>) -> String {
        let written = match self.is_tuple() {
            true => format!("{} is written with {} fields", quoted(self.owner), self.fields),
            false => format!("`{}` is written with the fields {}", self.owner.name(), list(&self.keys)),
        };
        let Some(read) = read else { return format!("{written}, and never read") };
        let left_out = match self.is_tuple() || read.names.is_empty() {
            true => String::new(),
            false => only_one_side(&self.keys, read.names),
        };
        format!("{written}, and {} read{left_out}", read.text())
    }
}

/// The fields that one side knows and the other does not.
fn only_one_side(keys: &[&str], names: &[&str]) -> String {
    let without = |these: &[&'_ str], those: &[&str]| -> Vec<String> {
        these.iter().filter(|name| !those.contains(name)).map(|name| format!("`{name}`")).collect()
    };
    let (unread, unwritten) = (without(keys, names), without(names, keys));
    match (unread.is_empty(), unwritten.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(": {} is skipped in reading", unread.join(", ")),
        (true, false) => format!(": {} is skipped in writing", unwritten.join(", ")),
        (false, false) => format!(
            ": {} is not read and {} not written; if that is one field under two names, let the latter have the former \
             as an alias (`#[serde(alias = …)]`)",
            unread.join(", "),
            unwritten.join(", ")
        ),
    }
}

impl Read {
    fn text(&self) -> String {
        if self.names.is_empty() {
            return format!("{} with {} fields is", quoted(self.owner), self.fields);
        }
        format!("`{}` with the fields {} is", self.owner.name(), list(self.names))
    }
}

fn quoted(owner: Owner) -> String {
    if owner.is(Owner::TUPLE) { "a tuple".into() } else { format!("`{}`", owner.name()) }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "(none)".into();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A name without its style: `user_id`, `userId` and `USER-ID` are one.
fn plain(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|character| !matches!(character, '_' | '-')).flat_map(char::to_lowercase)
}
