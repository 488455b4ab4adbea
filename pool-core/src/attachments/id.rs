//! The names of arrays, and the kinds of their memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pool_ipc::sys::monotonic_ns;

/// Names an array in the process that made it, in its workers, and in its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArrayId(u64);

impl ArrayId {
    /// Of an array that came from nowhere.
    pub(crate) const NONE: ArrayId = ArrayId(0);

    /// A name that nothing else has: neither in this process and its workers, nor, but for a chance of one in 2^62 for each pair, on
    /// another machine.
    pub(crate) fn new() -> ArrayId {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SEED: OnceLock<u64> = OnceLock::new();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A process id has 22 bits. Forked copies have the same seed, and another id.
        let here = u64::from(std::process::id()) << 32 | u64::from(number);
        let seed = *SEED.get_or_init(|| seed(&NUMBER));
        // The first bit makes all names equally long where numbers are shortened.
        ArrayId(1 << 63 | scramble(here ^ seed))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn of_number(number: u64) -> ArrayId {
        ArrayId(number)
    }
}

/// Bits that other machines do not have: the time, and where the system has put the program. No call that a sandbox could refuse.
fn seed(place: &AtomicU32) -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // In places of their own, so that one does not undo the other.
    scramble(time.as_nanos() as u64 ^ monotonic_ns().rotate_left(20) ^ (std::ptr::from_ref(place).addr() as u64) << 24)
}

/// A bijection of 63 bits (SplitMix64's last steps), so that two names of one seed are never the same.
fn scramble(mut bits: u64) -> u64 {
    const MASK: u64 = (1 << 63) - 1;
    bits &= MASK;
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9) & MASK;
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) & MASK;
    bits ^ bits >> 31
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_all_different_and_equally_long() {
        let names: BTreeSet<_> = (0..10_000).map(|_| ArrayId::new().number()).collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|name| name >> 63 == 1));
        // Steps that are no bijection would lose some of the neighbours.
        assert_eq!((0..1 << 16).map(scramble).collect::<BTreeSet<_>>().len(), 1 << 16);
    }
}
