//! The names of arrays, and the kinds of their memory.

use std::sync::atomic::{AtomicU32, Ordering};

/// Names an array in the process that made it, in its workers, and in its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArrayId(u64);

impl ArrayId {
    /// Of an array that came from nowhere.
    pub(crate) const NONE: ArrayId = ArrayId(0);

    /// A name that nothing else has: of this process, and a number.
    pub(crate) fn new() -> ArrayId {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The first bit makes all names equally long where numbers are shortened. A process id has 22 bits.
        ArrayId(1 << 63 | u64::from(std::process::id()) << 32 | u64::from(number))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn of_number(number: u64) -> ArrayId {
        ArrayId(number)
    }
}

/// The kinds of memory that a descriptor may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Memory that is sealed against writing.
    Sealed = 0,
    /// A file that nobody writes, by the word of the host's code.
    File = 1,
    /// Memory of the host's, of which workers write parts while the host waits.
    Lent = 2,
    /// Memory that a worker gives away.
    Given = 3,
}

impl Kind {
    pub(crate) fn of(number: u32) -> Option<Kind> {
        [Kind::Sealed, Kind::File, Kind::Lent, Kind::Given].into_iter().find(|kind| *kind as u32 == number)
    }
}
