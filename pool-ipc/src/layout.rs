//! The layout of shared memory.
//!
//! The kernel protects memory by the object and not by the page: a process that has mapped a part of an object read-only can
//! make the mapping writable if it may write to the descriptor. So the memory that only the host writes and the memory that
//! workers write are two objects (memfds). The first is sealed against all writing but through the mapping that the host made
//! before (F_SEAL_FUTURE_WRITE in fcntl(2)). A lane:
//!
//! ```text
//! | request words 4096 | request ring |   host writes, worker reads
//! | reply words 4096   | reply ring   |   worker writes, host reads
//! ```
//!
//! Rings may begin with a part of their bytes, and take memory for the rest when they grow. A hub:
//!
//! ```text
//! | host words 4096 | arena |          host writes, workers read
//! | bell words 4096 |                  all write
//! ```
//!
//! An object is mapped as a whole, so nothing here depends on the size of the machine's pages. Memory for a part of it is
//! taken by the page, so of larger pages a ring may take more than its extent.
//!
//! | word | writer | reader | ordering | if the worker dies here |
//! |---|---|---|---|---|
//! | [`RequestPage`] `magic`…`reply_bytes` | host, before it sends the descriptors | worker, at opening | Relaxed: sending the descriptors orders them | nothing: the host never reads them |
//! | `RequestPage::tail` | host, per record | worker | Release / Relaxed + Acquire fence | nothing |
//! | `RequestPage::head` of the reply ring | host, per release | worker | Release / Relaxed + Acquire fence | nothing |
//! | `RequestPage::bell` | host, if `asleep` | worker, the kernel | Relaxed, after a SeqCst fence | nobody is woken |
//! | `RequestPage::reply_extent` | host, when the reply ring grows | worker | Relaxed: the memory is taken before | nothing |
//! | `RequestPage::orders` | host, about the current request | worker | see orders.rs | nothing |
//! | [`ReplyPage`] `tail` | worker, per record | host | Release / Relaxed + Acquire fence | published records are whole, bytes behind them are unpublished |
//! | `ReplyPage::head` of the request ring | worker, per release | host | Release / Relaxed + Acquire fence | the record counts as not released |
//! | `ReplyPage::asleep` | worker | host | Relaxed, before / after a SeqCst fence | the host makes a system call in vain |
//! | `ReplyPage::marks` | worker, per item | host, at deaths and deadlines | see progress.rs | they name the item that was lost |
//! | `ReplyPage::opened` | worker, once | worker | AcqRel | the lane cannot be opened again; nor is it ever |
//! | `ReplyPage::last_words` | worker, when dying | host, after the death | Release / Relaxed + Acquire fence | no text, or the whole of it |
//! | `Wire::limit` in the request ring | host | worker | Relaxed, with SeqCst fences | nothing |
//! | [`HubHostPage`] `watch`, `asleep` | host | workers | Relaxed, with SeqCst fences | nothing |
//! | the arena | host, the owner of a segment | workers, while a request runs | that of the rings: the request is sent after writing, and the segment is free after the last reply | the segment is kept until the death is known |
//! | [`HubBellPage`] bells | host and all workers | the kernel, for the host | Relaxed | between bell and futex call: the host wakes late, when it notifies itself of the death |
//!
//! Words of different writers are in different objects; words written at different rates are on different lines of 128
//! bytes (two cache lines, since the hardware fetches them in pairs).

#![allow(unsafe_code)]

use std::mem::{align_of, offset_of, size_of};

use super::futex::Futex;
use super::last_words::{LAST_WORDS_BYTES_MAX, LastWords};
use super::orders::Orders;
use super::progress::Marks;
use super::record::{HEADER_BYTES, Wire};
use super::sync::{AtomicU32, AtomicU64};

/// Size of the shared words at the start of each object, with room for more of them.
pub(crate) const WORDS_BYTES: usize = 4096;

/// The smallest ring.
pub const RING_BYTES_MIN: usize = 4096;

/// The largest ring, 1 GiB: offsets and lengths within it fit 32 bits with room to spare.
pub const RING_BYTES_MAX: usize = 1 << 30;

pub(crate) const LANE_MAGIC: u64 = u64::from_le_bytes(*b"poollane");
pub(crate) const HUB_MAGIC: u64 = u64::from_le_bytes(*b"poolhub\0");
pub(crate) const VERSION: u32 = 4;

/// A word, or a few that are written together, on cache lines of their own.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// The first words of a lane or hub, which identify the memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Label {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) unused: AtomicU32,
    pub(crate) request_bytes: AtomicU64,
    pub(crate) reply_bytes: AtomicU64,
}

/// The words of a lane that the host writes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RequestPage {
    pub(crate) label: Line<Label>,
    /// Tail of the request ring.
    pub(crate) tail: Line<AtomicU64>,
    /// Head of the reply ring.
    pub(crate) head: Line<AtomicU64>,
    /// Wakes the worker.
    pub(crate) bell: Line<Futex>,
    /// Extent of the reply ring in bytes.
    pub(crate) reply_extent: Line<AtomicU64>,
    pub(crate) orders: Line<Orders>,
}

/// The words of a lane that the worker writes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ReplyPage {
    /// Tail of the reply ring. The host polls it, so no word that is written more often may be near.
    pub(crate) tail: Line<AtomicU64>,
    /// Head of the request ring.
    pub(crate) head: Line<AtomicU64>,
    pub(crate) asleep: Line<AtomicU32>,
    pub(crate) marks: Marks,
    pub(crate) opened: Line<AtomicU32>,
    pub(crate) last_words: LastWords,
}

/// The words of a hub that the host writes; workers read them together, at every reply.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HubHostPage {
    pub(crate) label: Line<Label>,
    pub(crate) posts: Line<Posts>,
}

/// The state of the host's threads that workers may have to wake.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Posts {
    pub(crate) watch: AtomicU32,
    pub(crate) caller_asleep: AtomicU32,
    pub(crate) router_asleep: AtomicU32,
}

/// The words of a hub that all processes write.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HubBellPage {
    pub(crate) caller: Line<Futex>,
    pub(crate) router: Line<Futex>,
}

/// True if a ring may have this size.
pub(crate) const fn ring_fits(bytes: u64) -> bool {
    bytes >= RING_BYTES_MIN as u64 && bytes <= RING_BYTES_MAX as u64 && bytes.is_power_of_two()
}

/// Types that may be found in memory that another process writes.
///
/// # Safety
/// The type must consist of atomics: every bit pattern is a value, zero bytes, too, and it may change at any time. It holds no
/// address, needs no destructor and fits into [`WORDS_BYTES`].
pub(crate) unsafe trait Plain: Sized {}

// SAFETY: atomics all the way down; the sizes are asserted below.
unsafe impl Plain for RequestPage {}
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
const _: () = assert!(offset_of!(RequestPage, label) == 0);
const _: () = assert!(offset_of!(RequestPage, tail) == 128);
const _: () = assert!(offset_of!(RequestPage, head) == 256);
const _: () = assert!(offset_of!(RequestPage, bell) == 384);
const _: () = assert!(offset_of!(RequestPage, reply_extent) == 512);
const _: () = assert!(offset_of!(RequestPage, orders) == 640);
const _: () = assert!(size_of::<RequestPage>() <= WORDS_BYTES);
const _: () = assert!(offset_of!(ReplyPage, tail) == 0);
const _: () = assert!(offset_of!(ReplyPage, head) == 128);
const _: () = assert!(offset_of!(ReplyPage, asleep) == 256);
const _: () = assert!(offset_of!(ReplyPage, marks) == 384);
const _: () = assert!(offset_of!(ReplyPage, opened) == 512);
const _: () = assert!(offset_of!(ReplyPage, last_words) == 640);
const _: () = assert!(size_of::<LastWords>() == size_of::<u32>() + LAST_WORDS_BYTES_MAX);
const _: () = assert!(size_of::<ReplyPage>() <= WORDS_BYTES);
const _: () = assert!(offset_of!(HubHostPage, label) == 0);
const _: () = assert!(offset_of!(HubHostPage, posts) == 128);
const _: () = assert!(size_of::<Posts>() == 12);
const _: () = assert!(size_of::<HubHostPage>() <= WORDS_BYTES);
const _: () = assert!(offset_of!(HubBellPage, router) == 128);
const _: () = assert!(size_of::<HubBellPage>() <= WORDS_BYTES);
