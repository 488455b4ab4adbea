//! The thread that passes events to the listener, and how the readers of records read.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Host;
use super::threads::spawn;
use crate::error::Result;
use crate::observe::event::Event;
use crate::observe::log::{Batch, Reader, Record, WAITING_MAX};
use crate::sync::Ordering;

/// A listener, as a pool keeps it.
pub(crate) type Listener = Box<dyn FnMut(&Event) + Send>;

/// Pause of the events' thread between two batches: a stream of events wakes it once in this time.
const EVENTS_PAUSE: Duration = Duration::from_millis(1);

impl Host {
    /// The next records of the reader, as soon as there are some; `None` when the pool is over and all have been read.
    pub(crate) fn read_log(&self, reader: Reader, memory: &mut Vec<Record>) -> Option<Batch> {
        loop {
            // Taken here, without the lock, and swapped in: a log never grows.
            if memory.capacity() < WAITING_MAX {
                memory.reserve_exact(WAITING_MAX);
            }
            // Asked first: records are written before the pool is over.
            let is_over = self.is_over.load(Ordering::Acquire);
            let batch = self.with(|engine| engine.take_log(reader, std::mem::take(memory)));
            if !batch.records.is_empty() || batch.lost > 0 {
                return Some(batch);
            }
            *memory = batch.records;
            if is_over {
                return None;
            }
            thread::park();
        }
    }

    /// Passes events to the listener until the pool is over.
    pub(crate) fn pass_events(&self, mut listener: Listener) {
        let memory_limit = self.with(|engine| engine.memory_limit());
        let mut memory = Vec::new();
        let mut tell = |event: &Event| {
            guarded(|| listener(event));
            self.readers.note_progress();
        };
        while let Some(mut batch) = self.read_log(Reader::Events, &mut memory) {
            batch.records.drain(..).filter_map(|record| Event::of(record, memory_limit)).for_each(|event| tell(&event));
            // They were the last ones when the log was full, so this is their place.
            if batch.lost > 0 {
                tell(&Event::Dropped { events: batch.lost });
            }
            memory = batch.records;
            // Else a stream of jobs would wake this thread for each.
            thread::sleep(EVENTS_PAUSE);
        }
        // Its destructor is the user's code, too.
        guarded(move || drop(listener));
    }
}

/// Runs code of the user's; the panic hook has reported a panic already.
pub(crate) fn guarded(body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        drop_payload(payload);
    }
}

/// Drops the payload of a panic. Its destructor may panic, too.
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

/// Runs a reader in a thread of its own, of this name.
///
/// # Errors
///
/// The system refuses a thread.
pub(crate) fn spawn_reader(host: &Arc<Host>, name: String, body: impl FnOnce(&Host) + Send + 'static) -> Result<()> {
    // Counted here: the pool may end before the thread has begun.
    host.readers.announce();
    let theirs = Arc::clone(host);
    let run = move || {
        let _left = theirs.readers.enter();
        body(&theirs);
    };
    spawn(name, run).map(drop).inspect_err(|_| host.readers.withdraw())
}
