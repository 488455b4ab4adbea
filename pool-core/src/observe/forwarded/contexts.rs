//! Contexts: the spans in which jobs were submitted, kept until the last record of their items has been passed on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Span;

/// The spans, by their numbers.
#[derive(Default)]
pub(crate) struct Contexts(Mutex<Open>);

#[derive(Default)]
struct Open {
    spans: BTreeMap<u32, Arc<Span>>,
    last: u32,
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contexts").finish()
    }
}

impl Contexts {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the span that this thread is in; 0 if it is in none.
    pub(crate) fn enter(&self) -> u32 {
        // Before the lock: this is the subscriber's code.
        let span = Span::current();
        if span.is_none() {
            return 0;
        }
        let mut open = self.open();
        loop {
            // Round and round, past 0 and those that are still open.
            open.last = open.last.wrapping_add(1);
            let number = open.last;
            if number > 0 && !open.spans.contains_key(&number) {
                open.spans.insert(number, Arc::new(span));
                return number;
            }
        }
    }

    /// The span of this number, which is a worker's word.
    pub(super) fn get(&self, number: u32) -> Option<Arc<Span>> {
        self.open().spans.get(&number).cloned()
    }

    /// Forgets the span.
    pub(crate) fn leave(&self, number: u32) {
        // Dropped behind the lock, since that runs the subscriber's code.
        let span = self.open().spans.remove(&number);
        drop(span);
    }
}
