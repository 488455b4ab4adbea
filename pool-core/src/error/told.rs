//! An error of another process: its text, and those of its sources.

use std::error::Error as StdError;
use std::fmt;

/// An error with the text of one that the worker had.
pub struct Told {
    text: String,
    source: Option<Box<Told>>,
}

impl Told {
    pub(crate) fn of(texts: Vec<String>) -> Self {
        let told = texts.into_iter().rev().fold(None, |source, text| Some(Told { text, source: source.map(Box::new) }));
        told.unwrap_or_else(|| Told { text: String::new(), source: None })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text: `main` shows its error by `Debug`.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
