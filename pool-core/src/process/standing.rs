//! Whether code still is the worker that it began as: not in a process that a task has forked, nor in a thread that was told to
//! end.
//!
//! A worker of a pool [in the process](crate::PoolBuilder::in_process) is a thread, which nobody can kill. It has a word by which
//! it is told to end, and looks there where a worker process looks whether it is a copy.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The right of a worker to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'w> {
    word: &'w AtomicU32,
    expected: u32,
}

impl<'w> Standing<'w> {
    pub(super) fn new(word: &'w AtomicU32, expected: u32) -> Self {
        Standing { word, expected }
    }

    /// True as long as it may answer. A plain load, as it is asked after each item.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        // Relaxed: a look that comes too early for the host's store only lets one more item run.
        self.word.load(Ordering::Relaxed) == self.expected
    }
}

/// The word by which a worker that is a thread is told to end.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    word: AtomicU32,
    /// The exit code, if the thread has ended itself.
    code: AtomicI32,
}

const GOES_ON: u32 = 0;
const ENDS: u32 = 1;

thread_local! {
    /// That of the worker which this thread is, or null.
    static STOP: Cell<*const Stop> = const { Cell::new(ptr::null()) };
}

impl Stop {
    /// Tells the thread to end after its item. It may sleep, and is to be woken after this.
    pub(crate) fn set(&self) {
        // Relaxed: the bell that is rung after this has a fence, and a thread that is awake looks after its item.
        self.word.store(ENDS, Ordering::Relaxed);
    }

    pub(crate) fn standing(&self) -> Standing<'_> {
        Standing::new(&self.word, GOES_ON)
    }

    /// The exit code of a thread that has ended itself; 0 of any other.
    pub(crate) fn code(&self) -> i32 {
        self.code.load(Ordering::Relaxed)
    }

    /// Runs `body` in this thread, which is the worker meanwhile.
    pub(crate) fn run<R>(&self, body: impl FnOnce() -> R) -> R {
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                STOP.set(ptr::null());
            }
        }
        // Also by a panic: the word may be gone soon after, and the thread lives on for its thread-locals' destructors.
        let _clear = Clear;
        STOP.set(self);
        body()
    }
}

/// True in a worker that is a thread.
pub(crate) fn is_thread() -> bool {
    !STOP.get().is_null()
}

/// Ends the worker that this thread is, with this exit code, as soon as it looks. False if it is none.
pub(crate) fn end_thread(code: i32) -> bool {
    // SAFETY:
    // - it is null, or points to the word of a `run` that is below in the stack of this thread.
    let Some(stop) = (unsafe { STOP.get().as_ref() }) else { return false };
    // The thread itself reads it, at its end.
    stop.code.store(code, Ordering::Relaxed);
    stop.set();
    true
}

/// This process has just been forked. Its only thread, should it be a worker's, has the memory of its lane, and must not answer in
/// its place.
pub(super) fn forked() {
    // SAFETY:
    // - as above; the copy has the same stack.
    // Taken out, so that the copy counts as a process and ends by `_exit`.
    if let Some(stop) = unsafe { STOP.replace(ptr::null()).as_ref() } {
        stop.set();
    }
}
