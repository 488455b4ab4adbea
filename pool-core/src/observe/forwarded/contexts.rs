//! Contexts: the spans in which jobs were submitted, kept until the last record of their items has been passed on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Span;
use tracing::dispatcher::{self, Dispatch, WeakDispatch};
use tracing::subscriber::NoSubscriber;

/// The spans, by their numbers; all of them are spans of the pool's subscriber.
pub(crate) struct Contexts {
    /// Weak: a subscriber may own the pool, and neither of the two would ever be dropped.
    subscriber: WeakDispatch,
    open: Mutex<Open>,
}

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
    pub(crate) fn new(subscriber: &Dispatch) -> Self {
        Contexts { subscriber: subscriber.downgrade(), open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the span of the pool's subscriber that this thread is in; 0 if it is in none.
    pub(crate) fn enter(&self) -> u32 {
        // No subscriber counts while one is at work: its own code is in no span, or it would trace itself for ever.
        if dispatcher::get_default(|current| current.is::<NoSubscriber>()) {
            return 0;
        }
        let Some(subscriber) = self.subscriber.upgrade() else { return 0 };
        // The pool's subscriber is asked, whichever counts in this thread: the id of another one's span means another span here.
        // Before the lock: this is the subscriber's code.
        let span = dispatcher::with_default(&subscriber, Span::current);
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
        span.into_iter().for_each(close);
    }
}

impl Drop for Contexts {
    fn drop(&mut self) {
        // Those of jobs whose end nobody was left to tell.
        std::mem::take(&mut self.open().spans).into_values().for_each(close);
    }
}

/// Drops a handle of the span where its own subscriber counts: a registry drops the handle of the outer span at the one that does.
fn close(span: Arc<Span>) {
    if let Some(subscriber) = span.with_subscriber(|(_, subscriber)| subscriber.clone()) {
        dispatcher::with_default(&subscriber, || drop(span));
    }
}
