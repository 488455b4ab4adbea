//! Tells a process from its forked copies, which have the same memory.

#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::standing::{self, Standing};

/// Forks between the first process of the program and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The identity of one process, which its forked copies do not share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkCheck {
    forks: u32,
    pid: u32,
}

impl ForkCheck {
    /// This process.
    pub(crate) fn here() -> Self {
        extern "C" fn in_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
            standing::forked();
        }
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            // SAFETY:
            // - the handler only changes atomics and a thread-local word, which is allowed in a forked child, see
            //   pthread_atfork(3).
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        ForkCheck { forks: FORKS.load(Ordering::Relaxed), pid: std::process::id() }
    }

    /// True in that process, and false in a copy made with `fork`. A plain load.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        FORKS.load(Ordering::Relaxed) == self.forks
    }

    /// The standing of a worker that is this process.
    pub(crate) fn standing(self) -> Standing<'static> {
        Standing::new(&FORKS, self.forks)
    }

    /// As [`is_here`](ForkCheck::is_here), but also false in a copy made in any other way, such as clone(2). A system call.
    pub(crate) fn is_surely_here(self) -> bool {
        self.pid == std::process::id()
    }
}
