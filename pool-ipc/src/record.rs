//! The 32-byte header before each payload, and a record with a checked header.
//!
//! Records are padded to 32 bytes and a ring's capacity is a multiple of 32, so wherever a byte is free there is room
//! for a header, and a header never wraps. A payload never wraps either: a message that meets the ring's
//! end goes on in a further record, and says so with [`MORE`].

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a header, and the unit in which a ring is measured.
pub const HEADER_BYTES: usize = 32;

/// The bit of [`Header::flags`] that says that the message goes on in the next record. The user may use all others but the
/// highest.
///
/// Any record of a message may be empty but its last (unless all are), so judge by this bit and not by the bytes gathered.
pub const MORE: u16 = 1;

/// The bit of [`Header::flags`] that marks a pad: no record lies from here to the ring's end, and the next one lies at the
/// ring's start. Users see no pads.
pub(crate) const PAD: u16 = 1 << 15;

/// The user's words about a record. The ring carries them and interprets only [`MORE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Kind of the record.
    pub kind: u16,
    /// [`MORE`], fourteen bits of the user's, and the highest, which is the ring's.
    pub flags: u16,
    /// Number of the message.
    pub seq: u32,
    /// Number of items in the payload.
    pub count: u32,
    /// The one word that the producer may change after publishing, see [`Producer::revise`](crate::Producer::revise).
    pub limit: u32,
    /// Free for the user.
    pub extra: u32,
    /// Free for the user.
    pub info: u64,
}

/// A published record: a checked copy of its header, and the place of its payload.
#[derive(Debug, Clone, Copy)]
#[must_use = "a record stays in the ring until it is released"]
pub struct Record {
    /// The header at the time of the look; `limit` may have been revised since.
    pub header: Header,
    /// Bytes of payload.
    pub len: usize,
    /// Start of the record, in bytes since the ring was made.
    pub(super) position: u64,
    /// Start of the next one.
    pub(super) next: u64,
}

impl Record {
    /// Start of the record, in bytes since the ring was made.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// True if the message goes on in the next record.
    #[inline]
    pub fn more(&self) -> bool {
        self.header.flags & MORE != 0
    }
}

/// Bytes of the ring that a record with `len` bytes of payload takes. `len` is at most a ring's capacity.
#[inline]
pub(crate) const fn span(len: usize) -> usize {
    HEADER_BYTES + len.next_multiple_of(HEADER_BYTES)
}

/// A header as it lies in shared memory.
///
/// All words are atomic and all accesses Relaxed, which costs nothing on current machines. A header that the peer overwrites
/// while it is read is then a wrong value and not undefined behaviour. The ring's `tail` orders the accesses.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Wire {
    /// `{ flags: 16, kind: 16, len: 32 }`, from the high bits to the low.
    lead: AtomicU64,
    /// `{ count: 32, seq: 32 }`
    order: AtomicU64,
    limit: AtomicU32,
    extra: AtomicU32,
    info: AtomicU64,
}

const KIND_SHIFT: u32 = 32;
const FLAGS_SHIFT: u32 = 48;
const COUNT_SHIFT: u32 = 32;

impl Wire {
    #[inline]
    pub(super) fn write(&self, header: &Header, flags: u16, len: u32) {
        let lead = u64::from(len) | u64::from(header.kind) << KIND_SHIFT | u64::from(flags) << FLAGS_SHIFT;
        let order = u64::from(header.seq) | u64::from(header.count) << COUNT_SHIFT;
        // Relaxed: the index that is stored afterwards hands the record over.
        self.lead.store(lead, Ordering::Relaxed);
        self.order.store(order, Ordering::Relaxed);
        self.limit.store(header.limit, Ordering::Relaxed);
        self.extra.store(header.extra, Ordering::Relaxed);
        self.info.store(header.info, Ordering::Relaxed);
    }

    /// The header and the length that it claims, both unchecked.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes packed words apart")]
    pub(super) fn read(&self) -> (Header, u32) {
        // Each word is read once: the peer may change it meanwhile, and a check must be about the value that is used.
        let lead = self.lead.load(Ordering::Relaxed);
        let order = self.order.load(Ordering::Relaxed);
        let header = Header {
            kind: (lead >> KIND_SHIFT) as u16,
            flags: (lead >> FLAGS_SHIFT) as u16,
            seq: order as u32,
            count: (order >> COUNT_SHIFT) as u32,
            limit: self.limit.load(Ordering::Relaxed),
            extra: self.extra.load(Ordering::Relaxed),
            info: self.info.load(Ordering::Relaxed),
        };
        (header, lead as u32)
    }

    #[inline]
    pub(super) fn limit(&self) -> &AtomicU32 {
        &self.limit
    }
}
