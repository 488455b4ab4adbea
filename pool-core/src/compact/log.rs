//! Which structs and variants were written or read, for the comparison of a value whose shapes differ.

use std::collections::BTreeMap;

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
    name: &'static str,
    /// Empty names in a tuple struct.
    keys: Vec<&'static str>,
}

/// A struct's fields as its type expects them.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Read {
    name: &'static str,
    /// With the aliases. Empty for a tuple struct.
    names: &'static [&'static str],
    fields: usize,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Chosen {
    name: &'static str,
    variant: &'static str,
}

impl Log {
    pub(super) fn written(&mut self, name: &'static str, keys: Vec<&'static str>) {
        *self.written.entry(Written { name, keys }).or_default() += 1;
    }

    pub(super) fn read(&mut self, name: &'static str, names: &'static [&'static str], fields: usize) {
        *self.read.entry(Read { name, names, fields }).or_default() += 1;
    }

    pub(super) fn variant(&mut self, name: &'static str, variant: &'static str) {
        *self.variants.entry(Chosen { name, variant }).or_default() += 1;
    }

    /// That each struct of `written` is one of `read`, perhaps by other names of its fields.
    ///
    /// # Errors
    ///
    /// Which of them is not.
    pub(super) fn compare(written: &Log, read: &Log) -> Result<(), String> {
        let mut expected: Vec<(&Read, usize)> = read.read.iter().map(|(read, &count)| (read, count)).collect();
        // Equal names first, so that a struct with aliases is not taken for another.
        let (exact, others): (Vec<_>, Vec<_>) =
            written.written.iter().partition(|(written, _)| expected.iter().any(|(read, _)| written.is_exactly(read)));
        for (written, &count) in exact.into_iter().chain(others) {
            let mut left = count;
            for same in [Written::is_exactly, Written::is] {
                for (_, available) in expected.iter_mut().filter(|(read, _)| same(written, read)) {
                    let matched = left.min(*available);
                    (*available, left) = (*available - matched, left - matched);
                }
            }
            if left > 0 {
                expected.retain(|(_, available)| *available > 0);
                let read = expected.iter().find(|(read, _)| read.name == written.name).or(expected.first());
                return Err(written.difference(read.map(|(read, _)| *read)));
            }
        }
        match expected.iter().find(|(_, available)| *available > 0) {
            Some((read, _)) => Err(format!("{} read, and not written", read.text())),
            None => Ok(()),
        }
    }

    /// That the variants have the same names on both sides.
    pub(super) fn has_same_variants(&self, other: &Log) -> bool {
        self.variants == other.variants
    }

    /// The enums among the values.
    pub(super) fn enums(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.variants.keys().map(|chosen| chosen.name).collect();
        names.dedup();
        names
    }
}

impl Written {
    fn is_tuple(&self) -> bool {
        self.keys.iter().all(|key| key.is_empty())
    }

    fn is_exactly(&self, read: &Read) -> bool {
        self.name == read.name && self.keys == read.names && self.is(read)
    }

    /// The same number of fields, each of which has its name among those that are read, in the same order. Between two of
    /// these may be aliases. Names that differ only in their style come of `rename_all` with two styles.
    fn is(&self, read: &Read) -> bool {
        if self.keys.len() != read.fields {
            return false;
        }
        if self.is_tuple() && read.names.is_empty() {
            return true;
        }
        let mut names = read.names.iter();
        self.keys.iter().all(|key| names.any(|name| key == name || plain(key).eq(plain(name))))
    }

    fn difference(&self, read: Option<&Read>) -> String {
        let keys = self.keys.len();
        let written = match self.is_tuple() {
            true => format!("`{}` is written with {keys} fields", self.name),
            false => format!("`{}` is written with the fields {}", self.name, list(&self.keys)),
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
            return format!("`{}` with {} fields is", self.name, self.fields);
        }
        format!("`{}` with the fields {} is", self.name, list(self.names))
    }
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
