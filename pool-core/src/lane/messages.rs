//! The messages between host, fork server and workers: the kinds of records in a lane, and the datagrams of the control
//! socket.

use pool_ipc::{HEADER_BYTES, Header};
use serde::{Deserialize, Serialize};

use crate::process::panic::PanicReport;

/// The longest payload of a record that is followed by others: the host copies one while the worker writes the next.
pub(crate) const RECORD_BYTES: usize = (32 << 10) - HEADER_BYTES;

/// Kind of a record in the request ring: a message to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Request {
    /// Run the initializer or open a state: a [`RunRequest`] of one item, or of none if the pool has neither. The reply has
    /// the sequence number [`request::init_seq`].
    Init = 1,
    /// Run the items of a [`RunRequest`].
    Run = 2,
    /// Leave, after a [`RunRequest`] of one item if the pool has a finalizer: its number is [`request::QUIT_SEQ`].
    Quit = 3,
    /// A [`Place`]: more about the next request.
    Place = 4,
    /// Take the descriptor of an array from the socket: of the name `info` and the kind `extra`. If `count` is 0 there is none,
    /// by the error `limit`. There is no reply.
    Attach = 5,
    /// Unmap the array of the name `info`. There is no reply.
    Forget = 6,
    /// Rules for the [`Run`](Request::Run) that follows, where there are any; see [`rules`].
    Rules = 7,
}

impl Request {
    /// The number in the header of such a record.
    #[inline]
    pub(crate) const fn kind(self) -> u16 {
        self as u16
    }
}

/// The one record of work for a worker. It names the task and the limits; the body holds the arguments of the items,
/// one behind the other, or their location in the arena.
///
/// All of it fits into the 32 bytes of a record's header. A part that few requests have is a record of its own before the
/// request, such as [`Request::Rules`], so that no other request pays for it. A worker is of the same executable as its
/// host, so there are no versions to agree upon.
///
/// | header | meaning |
/// |---|---|
/// | `kind` | [`Request::Run`] or [`Request::Init`] |
/// | `flags` | those of [`request`] |
/// | `seq` | number of the request, which its replies repeat |
/// | `extra` | index of the task, or [`request::NO_TASK`] |
/// | `count` | number of items; with [`request::NUMBERED`] the index of the first one |
/// | `limit` | items at or beyond it are not to be run: at first their number, which the host lowers to take items back |
/// | `info` | time limit of each item in nanoseconds, or 0 |
///
/// Items of a request in several records cannot be taken back, so there `limit` announces the length of the body in units of
/// [`request::LENGTH_UNIT_BYTES`], rounded up, and at least `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunRequest {
    pub(crate) kind: Request,
    pub(crate) seq: u32,
    pub(crate) task: u32,
    pub(crate) items: u32,
    pub(crate) time_limit_ns: u64,
    pub(crate) flags: u16,
}

impl RunRequest {
    #[inline]
    pub(crate) fn header(&self) -> Header {
        let RunRequest { kind, seq, task, items, time_limit_ns, flags } = *self;
        let (kind, extra, info) = (kind.kind(), task, time_limit_ns);
        // Nothing has been taken back yet, so the limit is the number.
        Header { kind, flags, seq, count: items, limit: items, extra, info }
    }
}

/// Where the items of a request stand in their submission. Most requests say it in their header, see
/// [`request::NUMBERED`]. Before the others goes a record of its own, [`Request::Place`], so that they alone pay for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the first item; [`Place::CALL`] of calls, [`Place::NO_ITEM`] of a call that is no item.
    pub(crate) first: u64,
    /// The number of this attempt at them, from 1.
    pub(crate) attempt: u32,
    /// The seed of the submission, if it has one.
    pub(crate) seed: Option<u64>,
}

impl Place {
    pub(crate) const CALL: u64 = u64::MAX;
    pub(crate) const NO_ITEM: u64 = u64::MAX - 1;

    /// The record, which has no body.
    pub(crate) fn header(self) -> Header {
        // In the words that other requests use for their items, so that the record needs no body.
        let seed = self.seed.unwrap_or(0);
        Header {
            kind: Request::Place.kind(),
            flags: if self.seed.is_some() { request::SEEDED } else { 0 },
            count: seed as u32,
            limit: (seed >> 32) as u32,
            extra: self.attempt,
            info: self.first,
            ..Header::default()
        }
    }

    pub(crate) fn of_header(header: &Header) -> Self {
        let seed = u64::from(header.count) | u64::from(header.limit) << 32;
        let seed = (header.flags & request::SEEDED != 0).then_some(seed);
        Place { first: header.info, attempt: header.extra, seed }
    }

    /// The place of a request that none came before.
    #[inline]
    pub(crate) fn of_request(header: &Header) -> Self {
        let first = if header.flags & request::NUMBERED != 0 {
            header.count.into()
        } else if header.kind == Request::Run.kind() {
            Place::CALL
        } else {
            Place::NO_ITEM
        };
        Place { first, attempt: 1, seed: None }
    }
}

/// Flags and numbers of the records in a request ring. Bit 0 is the ring's own, [`pool_ipc::MORE`].
pub(crate) mod request {
    use pool_ipc::Header;

    /// The items are expected to be short and no thread waits for them, so the router need not be woken at once when they are
    /// done.
    pub(crate) const QUIET: u16 = 1 << 1;
    /// The body is the only argument of the only item, without a frame.
    pub(crate) const RAW: u16 = 1 << 2;
    /// No thread need be woken when the items are done, as long as more requests follow.
    pub(crate) const SILENT: u16 = 1 << 3;
    /// The items are expected to be over at once. The host reads this; the worker does not.
    pub(crate) const BRIEF: u16 = 1 << 4;
    /// The items are calls of different callers, so each value is published before the next item begins.
    pub(crate) const SINGLY: u16 = 1 << 5;
    /// The body is the location of the arguments in the arena.
    pub(crate) const IN_ARENA: u16 = 1 << 6;
    /// The caller asks for the start and the time of each item: each outcome is sent alone, with its
    /// [`ItemTimes`](super::ItemTimes) behind it.
    pub(crate) const TIMED: u16 = 1 << 7;
    /// The items write parts of arrays, so parts that are mapped may stay so. To a courier: they name some.
    pub(crate) const PARTS: u16 = 1 << 13;

    /// `count` is the index of the first item in its map, and `limit` alone tells the number of items. Only of a request in
    /// one record.
    pub(crate) const NUMBERED: u16 = 1 << 14;
    /// A [`Place`](super::Place) has a seed.
    pub(crate) const SEEDED: u16 = 1 << 1;

    /// The header with the index of its first item, which must be less than 2^32.
    #[inline]
    pub(crate) fn numbered(header: Header, first: u64) -> Header {
        Header { flags: header.flags | NUMBERED, count: first as u32, ..header }
    }

    /// The items of a request in one record, of which this is the limit now.
    #[inline]
    pub(crate) fn items(header: &Header, limit: u32) -> u32 {
        if header.flags & NUMBERED != 0 { limit } else { limit.min(header.count) }
    }

    /// Position of the five bits that bound a claim.
    const CLAIM_SHIFT: u32 = 8;
    /// Claims of so many items, as a power of two, are not bounded further.
    const CLAIM_LOG_MAX: u32 = 31;

    /// The flags that bound the claims of a worker to this many items, rounded down to a power of two.
    #[inline]
    pub(crate) fn claim_flags(items: u32) -> u16 {
        // As a power of two it fits into five bits of the flags, and the record grows by nothing.
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

    /// Sequence number of the finalizer.
    pub(crate) const QUIT_SEQ: u32 = u32::MAX;

    /// Sequence number of the call that a worker makes before its first task, after `before` others of this kind.
    pub(crate) const fn init_seq(before: usize) -> u32 {
        QUIT_SEQ - 1 - before as u32
    }
}

/// Rules for the run that follows. All of them stand in the header; `extra` is the number of the span in which the job was
/// submitted, or 0, and `info` is the grace of each item in nanoseconds, or 0: a
/// part of its time limit, and the time that it has when it is cancelled.
pub(crate) mod rules {
    use crate::priority::Priority;

    /// The items may report.
    pub(crate) const REPORTS: u16 = 1 << 1;
    /// The items are of high priority. To couriers alone: no other worker has use for it.
    const HIGH: u16 = 1 << 2;
    /// The items are of low priority.
    const LOW: u16 = 1 << 3;

    /// The flags of the priority.
    pub(crate) fn of_priority(priority: Priority) -> u16 {
        match priority {
            Priority::High => HIGH,
            Priority::Normal => 0,
            Priority::Low => LOW,
        }
    }

    /// The priority that the flags tell.
    #[cfg(feature = "remote")]
    pub(crate) fn priority(flags: u16) -> Priority {
        match (flags & HIGH, flags & LOW) {
            (0, 0) => Priority::Normal,
            (0, _) => Priority::Low,
            _ => Priority::High,
        }
    }
}

/// Kind of a record in the reply ring. A record of any other kind, with a flag that is not in [`reply`], or with a count
/// that its kind does not have, is a protocol violation: the worker is killed.
///
/// `seq` names the request. `info` is the length of the whole reply in each record of a reply that takes several, and the
/// time of the request in nanoseconds in a [`reply::LAST`] one. There `extra` counts the values that were `Err`,
/// and `limit` is the time of the [end](reply::ended).
///
/// | kind | | `count` | body |
/// |---|---|---|---|
/// | 1 | [`Values`](ReplyKind::Values) | items, or 0 in a last one | their values, one behind the other |
/// | 2 | [`Failed`](ReplyKind::Failed) | 1 | a [`Failure`] |
/// | 3 | [`Report`](ReplyKind::Report) | 0 | reports of the running item that are of one type: its number ([`ReportType`]), then the values, each behind its length (`u32`) unless all are numbers |
/// | 4 | set aside for lines of log and output | 0 | lines |
/// | 5 | [`Array`](ReplyKind::Array) | 0 | none: `info` is the name of an array, and `extra` its kind |
///
/// Kinds 3 to 5 settle no item, so they may stand anywhere among the replies to a request. A new kind is a variant here,
/// and the compiler names the places that must handle it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum ReplyKind {
    /// The values of the next `count` items.
    Values = 1,
    /// The next item has no value.
    Failed = 2,
    /// The item that runs reports.
    Report = 3,
    /// The next value names this array, and the descriptor is in the socket.
    Array = 5,
}

impl ReplyKind {
    /// The number in the header of such a record.
    #[inline]
    pub(crate) const fn kind(self) -> u16 {
        self as u16
    }

    /// The kind of this number; `None` if no worker sends such records.
    #[inline]
    pub(crate) const fn of(kind: u16) -> Option<ReplyKind> {
        match kind {
            1 => Some(ReplyKind::Values),
            2 => Some(ReplyKind::Failed),
            3 => Some(ReplyKind::Report),
            5 => Some(ReplyKind::Array),
            _ => None,
        }
    }
}

/// Flags of the records in a reply ring. Bit 0 is the ring's own, [`pool_ipc::MORE`].
pub(crate) mod reply {
    /// This ends the reply to a request.
    pub(crate) const LAST: u16 = 1 << 1;
    /// The worker has grown too large and should be replaced.
    pub(crate) const OVER_RSS: u16 = 1 << 2;
    /// The body is the only value's own bytes, without a frame.
    pub(crate) const RAW: u16 = 1 << 3;
    /// The body ends with the [`ItemTimes`](super::ItemTimes) of the only item.
    pub(crate) const TIMED: u16 = 1 << 4;

    /// Nanoseconds of a unit of [`ended`], as a power of two.
    const ENDED_UNIT_LOG: u32 = 10;

    /// The time in 32 bits: in microseconds or so, and without the part that exceeds an hour.
    #[inline]
    pub(crate) const fn ended(now_ns: u64) -> u32 {
        (now_ns >> ENDED_UNIT_LOG) as u32
    }

    /// The time of an end that was not long before `now_ns`.
    pub(crate) const fn ended_at(ended_at: u32, now_ns: u64) -> u64 {
        // A worker that lies, or has ended just after the clock was read, has ended now.
        let ago = ended(now_ns).wrapping_sub(ended_at).cast_signed();
        now_ns.saturating_sub(if ago > 0 { (ago as u64) << ENDED_UNIT_LOG } else { 0 })
    }
}

/// The number of the type of reports. Its low byte is the size of each, or [`FRAMED`](ReportType::FRAMED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportType(u64);

impl ReportType {
    pub(crate) const BYTES: usize = size_of::<u64>();
    /// Of a value that could not be encoded: in its place stands the reason, as text.
    pub(crate) const UNENCODABLE: ReportType = ReportType(0);
    /// Each stands behind its length. No number is that large.
    const FRAMED: u8 = u8::MAX;

    /// Of the type with this number, of which all values are numbers of `size` bytes if there is one.
    #[inline]
    pub(crate) fn new(number: u64, size: Option<usize>) -> Self {
        let size = size.map_or(Self::FRAMED, |size| size as u8);
        ReportType(number & !u64::from(u8::MAX) | u64::from(size))
    }

    /// The bytes of each report, if none stands behind its length.
    #[inline]
    pub(crate) fn size(self) -> Option<usize> {
        match self.0 as u8 {
            // A size of 0, which only a lie can have, would be a report without end.
            0 | Self::FRAMED => None,
            size => Some(size.into()),
        }
    }

    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        ReportType(u64::from_le_bytes(bytes))
    }
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
    /// The system refused, with this number, an array that the item names.
    Array {
        why: String,
        errno: i32,
    },
    /// It ran on another machine.
    #[cfg(feature = "remote")]
    Elsewhere(Box<crate::wire::Failure>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_reply_has_one_number_and_all_others_have_none() {
        for kind in [ReplyKind::Values, ReplyKind::Failed, ReplyKind::Report, ReplyKind::Array] {
            assert_eq!(ReplyKind::of(kind.kind()), Some(kind));
        }
        assert_eq!((0..=u16::MAX).filter_map(ReplyKind::of).count(), 4);
    }

    #[test]
    fn places_come_back() {
        for seed in [None, Some(0), Some(u64::MAX - 1)] {
            let place = Place { first: 1 << 40, attempt: 3, seed };
            assert_eq!(Place::of_header(&place.header()), place);
        }
    }

    #[test]
    fn the_time_of_an_end_comes_back() {
        for now in [5_000_000_000_u64, 1 << 42, (1 << 42) + 5_000] {
            for ago in [0_u64, 1, 2_000, 1_000_000_000] {
                let found = reply::ended_at(reply::ended(now - ago), now);
                assert!(found.abs_diff(now - ago) <= 1024, "{ago} before {now}");
            }
            assert_eq!(reply::ended_at(reply::ended(now + 1_000_000), now), now);
        }
    }

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
