//! The arrays of requests, by the names that workers have for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::attachments::array::Array as Frozen;
use crate::attachments::{ArrayId, Attachment};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::Array;

/// The arrays that are alive: a link may bring the memory of one name twice, and workers are to have one of these.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<ArrayId, Weak<Frozen>>>);

/// With more names, those of arrays that are gone are looked for.
const NAMES_MAX: usize = 1_024;

impl Names {
    /// The array, as arguments name it.
    ///
    /// # Errors
    ///
    /// `Protocol`: it belongs to a value alone, or another one has its name.
    pub(super) fn attachment(&self, array: &Array) -> Result<Attachment> {
        let wrong = |text: &str| Error::new(ErrorKind::Protocol, format!("an argument names {text}"));
        // No honest pool sends one: arguments are copied and frozen.
        let new = array.frozen().ok_or_else(|| wrong("memory that its value may write"))?;
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Seldom: a look at each costs more than the few bytes of those that are gone.
        if names.len() >= NAMES_MAX {
            names.retain(|_, known| known.strong_count() > 0);
        }
        // By length alone: the bytes were hashed by the link, if it does not trust the sender.
        let known = names.get(&new.id()).and_then(Weak::upgrade);
        let taken = match known {
            Some(known) if known.memory().bytes().len() == new.memory().bytes().len() => known,
            Some(_) => return Err(wrong("an array by the name of another one")),
            None => {
                names.insert(new.id(), Arc::downgrade(new));
                Arc::clone(new)
            }
        };
        Ok(Attachment::Frozen(taken))
    }
}
