//! The twin of `src/futex.rs`.

use std::time::Duration;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};

/// The kernel's futex: it compares the word, and queues the sleeper, under a lock that a waker takes too.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    bucket: Mutex<()>,
    queue: Condvar,
}

impl Futex {
    pub(crate) fn new() -> Futex {
        Futex { word: AtomicU32::new(0), bucket: Mutex::new(()), queue: Condvar::new() }
    }

    pub(crate) fn heard(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }

    /// No time-outs: a model in which somebody is not woken ends in loom's report of a deadlock.
    pub(crate) fn wait(&self, heard: u32, timeout: Option<Duration>) {
        assert_eq!(timeout, None);
        let bucket = self.bucket.lock().unwrap();
        if self.word.load(Ordering::Relaxed) == heard {
            drop(self.queue.wait(bucket).unwrap());
        }
    }

    pub(crate) fn notify(&self) {
        self.word.fetch_add(1, Ordering::Relaxed);
        let _bucket = self.bucket.lock().unwrap();
        self.queue.notify_all();
    }
}
