//! What lies where in shared memory.
//!
//! The kernel protects memory by the object and not by the page: whoever has mapped a part of an object read-only can
//! make it writable, if its descriptor may be written to. So what the host alone writes and what workers may write are two
//! objects (memfds), and the first is sealed against all writing but by the mapping that the host has already
//! (F_SEAL_FUTURE_WRITE in fcntl(2)). A lane:
//!
//! ```text
//! | call words 4096 | call ring |      host writes, worker reads
//! | reply words 4096 | reply ring |    worker writes, host reads
//! ```
//!
//! Rings may begin with a part of their bytes: memory for the rest is taken when they grow, by the mappings that there
//! are. A hub:
//!
//! ```text
//! | host words 4096 | arena |          host writes, workers read
//! | bell words 4096 |                  all write
//! ```
//!
//! An object is mapped as a whole, so nothing here depends on the size of the machine's pages.
//!
//! | word | writer | reader | ordering | if the worker dies here |
//! |---|---|---|---|---|
//! | [`CallPage`] `magic`…`reply_bytes` | host, before the descriptors leave its hands | worker, at opening | Relaxed: the descriptors' way to the worker orders them | nothing: the host never reads them |
//! | `CallPage::tail` | host, per record | worker | Release / Relaxed + Acquire fence | nothing |
//! | `CallPage::head` of the reply ring | host, per release | worker | Release / Relaxed + Acquire fence | nothing |
//! | `CallPage::bell` | host, if `asleep` | worker, the kernel | Relaxed, after a SeqCst fence | nobody is woken |
//! | `CallPage::reply_extent` | host, when the reply ring grows | worker | Relaxed: the memory is there before | nothing |
//! | [`ReplyPage`] `tail` | worker, per record | host | Release / Relaxed + Acquire fence | what is published is whole, the rest is a draft |
//! | `ReplyPage::head` of the call ring | worker, per release | host | Release / Relaxed + Acquire fence | the record counts as not released |
//! | `ReplyPage::asleep` | worker | host | Relaxed, before / after a SeqCst fence | the host wakes nobody, for the price of the call |
//! | `ReplyPage::marks` | worker, per item | host, at deaths and deadlines | see progress.rs | they name the item that was lost |
//! | `ReplyPage::opened` | worker, once | worker | AcqRel | the lane cannot be opened again; nor is it ever |
//! | `ReplyPage::note` | worker, when dying | host, after the death | Release / Relaxed + Acquire fence | no note, or the whole of it |
//! | `Wire::limit` in the call ring | host | worker | Relaxed, with SeqCst fences | nothing |
//! | [`HubHostPage`] `watch`, `asleep` | host | workers | Relaxed, with SeqCst fences | nothing |
//! | the arena | host, whoever has a segment | workers, for the length of a call | the rings': a call is sent after, the segment free after its last reply | the segment is kept until the death is known |
//! | [`HubBellPage`] bells | host and all workers | the kernel, for the host | Relaxed | between bell and futex call: late, until the host rings at the death |
//!
//! Words of different writers are in different objects; words written at different rates are on different lines of 128
//! bytes (two cache lines, since the hardware fetches them in pairs).

#![allow(unsafe_code)]

use std::mem::{align_of, offset_of, size_of};

use super::note::{NOTE_BYTES_MAX, Note};
use super::progress::Marks;
use super::record::{HEADER_BYTES, Wire};
use super::sync::{AtomicU32, AtomicU64, Futex};

/// Bytes at the start of each object: its shared words, then room to a multiple of the usual page.
pub(crate) const WORDS_BYTES: usize = 4096;

/// The smallest ring.
pub const RING_BYTES_MIN: usize = 4096;

/// The largest ring, 1 GiB: offsets and lengths within it fit 32 bits with room to spare.
pub const RING_BYTES_MAX: usize = 1 << 30;

pub(crate) const LANE_MAGIC: u64 = u64::from_le_bytes(*b"poollane");
pub(crate) const HUB_MAGIC: u64 = u64::from_le_bytes(*b"poolhub\0");
pub(crate) const VERSION: u32 = 3;

/// A word, or a few that are written together, with a line of its own.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// What memory is: the first words of a lane or hub.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Label {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) unused: AtomicU32,
    pub(crate) call_bytes: AtomicU64,
    pub(crate) reply_bytes: AtomicU64,
}

/// The words of a lane that the host writes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CallPage {
    pub(crate) label: Line<Label>,
    /// Of the call ring.
    pub(crate) tail: Line<AtomicU64>,
    /// Of the reply ring.
    pub(crate) head: Line<AtomicU64>,
    /// Rung when the worker sleeps.
    pub(crate) bell: Line<Futex>,
    /// Bytes of the reply ring that may be used.
    pub(crate) reply_extent: Line<AtomicU64>,
}

/// The words of a lane that the worker writes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ReplyPage {
    /// Of the reply ring; the host polls it, so nothing that is written more often may be near.
    pub(crate) tail: Line<AtomicU64>,
    /// Of the call ring.
    pub(crate) head: Line<AtomicU64>,
    pub(crate) asleep: Line<AtomicU32>,
    pub(crate) marks: Marks,
    pub(crate) opened: Line<AtomicU32>,
    pub(crate) note: Note,
}

/// The words of a hub that the host writes; workers read them together, at every reply.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HubHostPage {
    pub(crate) label: Line<Label>,
    pub(crate) posts: Line<Posts>,
}

/// Who of the host is where.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Posts {
    pub(crate) watch: AtomicU32,
    pub(crate) caller_asleep: AtomicU32,
    pub(crate) router_asleep: AtomicU32,
}

/// The words of a hub that everybody writes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HubBellPage {
    pub(crate) caller: Line<Futex>,
    pub(crate) router: Line<Futex>,
}

/// Whether a ring may have this size.
pub(crate) const fn ring_fits(bytes: u64) -> bool {
    bytes >= RING_BYTES_MIN as u64 && bytes <= RING_BYTES_MAX as u64 && bytes.is_power_of_two()
}

/// Types that may be found in memory that another process writes.
///
/// # Safety
/// The type must consist of atomics: every bit pattern is a value, bytes of zero too, and it may change at any time.
/// It holds no address, needs no destructor and fits into [`WORDS_BYTES`].
pub(crate) unsafe trait Plain: Sized {}

// SAFETY: atomics all the way down; the sizes are asserted below.
unsafe impl Plain for CallPage {}
// SAFETY: as above.
unsafe impl Plain for ReplyPage {}
// SAFETY: as above.
unsafe impl Plain for HubHostPage {}
// SAFETY: as above.
unsafe impl Plain for HubBellPage {}

// Read-only memory may be read by plain atomic loads only, and those are no wider than a pointer.
const _: () = assert!(usize::BITS == 64);
const _: () = assert!(size_of::<Wire>() == HEADER_BYTES && align_of::<Wire>() == 8);
const _: () = assert!(size_of::<Label>() == 32);
const _: () = assert!(offset_of!(CallPage, label) == 0);
const _: () = assert!(offset_of!(CallPage, tail) == 128);
const _: () = assert!(offset_of!(CallPage, head) == 256);
const _: () = assert!(offset_of!(CallPage, bell) == 384);
const _: () = assert!(offset_of!(CallPage, reply_extent) == 512);
const _: () = assert!(size_of::<CallPage>() <= WORDS_BYTES);
const _: () = assert!(offset_of!(ReplyPage, tail) == 0);
const _: () = assert!(offset_of!(ReplyPage, head) == 128);
const _: () = assert!(offset_of!(ReplyPage, asleep) == 256);
const _: () = assert!(offset_of!(ReplyPage, marks) == 384);
const _: () = assert!(offset_of!(ReplyPage, opened) == 512);
const _: () = assert!(offset_of!(ReplyPage, note) == 640);
const _: () = assert!(size_of::<Note>() == size_of::<u32>() + NOTE_BYTES_MAX);
const _: () = assert!(size_of::<ReplyPage>() <= WORDS_BYTES);
const _: () = assert!(offset_of!(HubHostPage, label) == 0);
const _: () = assert!(offset_of!(HubHostPage, posts) == 128);
const _: () = assert!(size_of::<Posts>() == 12);
const _: () = assert!(size_of::<HubHostPage>() <= WORDS_BYTES);
const _: () = assert!(offset_of!(HubBellPage, router) == 128);
const _: () = assert!(size_of::<HubBellPage>() <= WORDS_BYTES);
