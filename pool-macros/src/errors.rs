//! All errors about a function at once, each at its own place.

use quote::ToTokens;
use syn::{Error, Result};

/// The two uses of a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    /// It opens a state.
    State,
}

impl Kind {
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Kind::Task => "pool_task",
            Kind::State => "pool_state",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Task => "task",
            Kind::State => "state",
        }
    }
}

/// All errors of an item, each on its own tokens.
pub(crate) struct Errors {
    pub(crate) kind: Kind,
    all: Option<Error>,
}

impl Errors {
    pub(crate) fn of(kind: Kind) -> Self {
        Errors { kind, all: None }
    }

    pub(crate) fn push(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.all {
            None => self.all = Some(error),
            Some(first) => first.combine(error),
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.all.map_or(Ok(()), Err)
    }
}
