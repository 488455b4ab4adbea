//! Notes about a value while it is written: none, or all that a comparison needs.

use super::log::Log;
use crate::codec::trace::Trace;

/// Takes notes of a value that is written.
pub(super) trait Noting {
    /// The names of a struct's fields, as they are written.
    type Keys: Default;

    fn notes(&mut self) -> Option<&mut Notes>;
    fn add_key(keys: &mut Self::Keys, key: &'static str);
    fn list(keys: Self::Keys) -> Vec<&'static str>;
}

// Two types instead of a flag: a value that is written for the first time pays nothing for the notes, not even a branch.

/// Nothing is noted. Each of the methods is empty, so that it costs nothing.
pub(super) struct Unnoted;

impl Noting for Unnoted {
    type Keys = ();

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn notes(&mut self) -> Option<&mut Notes> {
        None
    }
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn add_key((): &mut (), _: &'static str) {}
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn list((): ()) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Notes for a comparison about a value that has been written.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) log: Log,
    pub(super) trace: Trace,
}

impl Notes {
    pub(super) fn new() -> Self {
        Notes { log: Log::default(), trace: Trace::new() }
    }
}

impl Noting for Notes {
    type Keys = Vec<&'static str>;

    fn notes(&mut self) -> Option<&mut Notes> {
        Some(self)
    }
    fn add_key(keys: &mut Self::Keys, key: &'static str) {
        keys.push(key);
    }
    fn list(keys: Self::Keys) -> Vec<&'static str> {
        keys
    }
}
