//! The messages between host, fork server and workers: the kinds of records in a lane, and the datagrams of the control
//! socket.

use pool_ipc::HEADER_BYTES;
use serde::{Deserialize, Serialize};

use crate::process::panic::PanicReport;

/// The longest payload of a record that is followed by others: the host copies one while the worker writes the next.
pub(crate) const RECORD_BYTES: usize = (32 << 10) - HEADER_BYTES;

/// Kind of a record in the request ring: a message to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Request {
    /// Run the initializer, the task `extra`, unless that is [`request::NO_TASK`]. The reply has the sequence number
    /// [`request::INIT_SEQ`].
    Init = 1,
    /// Run `count` items of the task `extra`, but none at or beyond `limit`; `info` is the time limit of each item in
    /// nanoseconds, or 0. The body holds their arguments, one behind the other.
    ///
    /// Items of a request in several records cannot be taken back, so there `limit` announces the length of the body in units of
    /// [`request::LENGTH_UNIT_BYTES`], rounded up, and at least `count`.
    Run = 2,
    /// Leave.
    Quit = 3,
}

impl Request {
    /// The number in the header of such a record.
    #[inline]
    pub(crate) const fn kind(self) -> u16 {
        self as u16
    }
}

/// Flags and numbers of the records in a request ring. Bit 0 is the ring's own, [`pool_ipc::MORE`].
pub(crate) mod request {
    /// The items are expected to be short and nobody waits for them, so the router need not be woken at once when they are
    /// done.
    pub(crate) const QUIET: u16 = 1 << 1;
    /// The body is the only argument of the only item, without a frame.
    pub(crate) const RAW: u16 = 1 << 2;
    /// Nobody need be woken when the items are done, as long as more requests follow.
    pub(crate) const SILENT: u16 = 1 << 3;
    /// The items are expected to be over at once. The host reads this; the worker does not.
    pub(crate) const BRIEF: u16 = 1 << 4;
    /// The items are calls of different callers, so each value is published before the next item begins.
    pub(crate) const SINGLY: u16 = 1 << 5;
    /// The body says where in the arena the arguments are.
    pub(crate) const IN_ARENA: u16 = 1 << 6;
    /// Somebody wants to know when each item began and how long it ran: each outcome is sent alone, with its
    /// [`ItemTimes`](super::ItemTimes) behind it.
    pub(crate) const TIMED: u16 = 1 << 7;

    /// Where the five bits begin that bound a claim.
    const CLAIM_SHIFT: u32 = 8;
    /// Claims of so many items, as a power of two, are not bounded further.
    const CLAIM_LOG_MAX: u32 = 31;

    /// The flags that bound the claims of a worker to this many items, rounded down to a power of two.
    #[inline]
    pub(crate) fn claim_flags(items: u32) -> u16 {
        (items.max(1).ilog2() << CLAIM_SHIFT) as u16
    }

    /// The items that a worker may claim at once.
    #[inline]
    pub(crate) fn claim_max(flags: u16) -> u32 {
        1 << (u32::from(flags) >> CLAIM_SHIFT & CLAIM_LOG_MAX)
    }

    /// The task of an [`Init`](super::Request::Init) of a pool without an initializer.
    pub(crate) const NO_TASK: u32 = u32::MAX;
    /// Unit of the length that a request in several records announces.
    pub(crate) const LENGTH_UNIT_BYTES: usize = 1 << 10;

    /// Sequence number of the initializer.
    pub(crate) const INIT_SEQ: u32 = u32::MAX;
}

/// Kinds and flags of the records in a reply ring. `info` is the length of the whole reply in each record of a reply that takes
/// several.
pub(crate) mod reply {
    /// Kind: the values of the next `count` items.
    pub(crate) const VALUES: u16 = 1;
    /// Kind: the next item has no value; the body is a [`Failure`](super::Failure).
    pub(crate) const FAILED: u16 = 2;

    /// This ends the reply to a request; `info` is the time that it took in nanoseconds.
    pub(crate) const LAST: u16 = 1 << 1;
    /// The worker has grown too large and should be replaced.
    pub(crate) const OVER_RSS: u16 = 1 << 2;
    /// The body is the only value's own bytes, without a frame.
    pub(crate) const RAW: u16 = 1 << 3;
    /// The body ends with the [`ItemTimes`](super::ItemTimes) of the only item.
    pub(crate) const TIMED: u16 = 1 << 4;
}

/// The start of an item on the monotonic clock, and the time that it ran, by the worker's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemTimes {
    pub(crate) begun_ns: u64,
    pub(crate) ran_ns: u64,
}

impl ItemTimes {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        (u128::from(self.begun_ns) | u128::from(self.ran_ns) << 64).to_le_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let both = u128::from_le_bytes(bytes);
        ItemTimes { begun_ns: both as u64, ran_ns: (both >> 64) as u64 }
    }
}

/// The reason why an item has no value although its worker lives. The nanoseconds that the item ran follow if they are known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Panicked(PanicReport),
    Decode(String),
    Encode(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_times_come_back() {
        let times = ItemTimes { begun_ns: u64::MAX - 1, ran_ns: 7 };
        assert_eq!(ItemTimes::from_bytes(times.to_bytes()), times);
    }

    #[test]
    fn claims_are_bounded_by_a_power_of_two() {
        let others = request::QUIET | request::IN_ARENA | request::TIMED;
        for (items, most) in [(0, 1), (1, 1), (2, 2), (3, 2), (100, 64), (u32::MAX, 1 << 31)] {
            assert_eq!(request::claim_max(request::claim_flags(items) | others), most, "{items}");
        }
    }
}
