//! The progress of a worker, in three words of shared memory that cost it one store each.

use super::last_words::LastWords;
use super::shared::Shared;
use super::sync::{AtomicU64, Ordering, fence, publish_order, store_load_fence};

/// The worker's progress as the host read it: unchecked values, each read on its own. They agree with one another only when
/// the worker is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Sequence number of the current request.
    pub seq: u32,
    /// Number of its items that the worker has claimed.
    pub claimed: u32,
    /// The item that the worker has begun.
    pub item: u32,
    /// End of the results of the items before that one in the record that is not published yet: see
    /// [`HostEnd::salvage`](crate::HostEnd::salvage).
    pub unpublished_end: u32,
    /// Start of the item on `CLOCK_MONOTONIC`, in nanoseconds.
    pub since_ns: u64,
}

/// The words themselves, in the worker's page.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Marks {
    /// `{ seq: 32, claimed: 32 }`, from the high bits to the low; one word, so that both always agree.
    claim: AtomicU64,
    /// `{ item: 32, unpublished_end: 32 }`
    item: AtomicU64,
    since_ns: AtomicU64,
}

const HIGH_SHIFT: u32 = 32;

impl Marks {
    #[inline]
    pub(crate) fn claim(&self, seq: u32, claimed: u32) {
        // SYNC STAMP, with `read`: a reader that sees the claim sees the time and the item before it. A plain store on x86.
        // Loom model: no_item_is_dated_by_the_one_before.
        self.claim.store(pack(seq, claimed), publish_order());
        // SYNC CLAIM, with `Producer::revise`: store the claim, then read the limit. The host stores the limit, then reads the
        // claim. With a fence on both sides at least one of them sees the other's store. Loom model:
        // no_item_is_recalled_and_run.
        store_load_fence();
    }

    #[inline]
    pub(crate) fn begin_item(&self, item: u32, unpublished_end: u32) {
        // SYNC UNPUBLISHED, with `read`: a reader that sees `unpublished_end` sees the bytes before it. A plain store on x86.
        // Loom model: unpublished_results_can_be_salvaged.
        self.item.store(pack(item, unpublished_end), publish_order());
    }

    #[inline]
    pub(crate) fn stamp(&self, ns: u64) {
        self.since_ns.store(ns, Ordering::Relaxed);
    }

    /// The item that the worker runs, and the time at which it or, at worst, a later item began.
    pub(crate) fn running(&self) -> Option<Progress> {
        // A worker stores the time, then the item, then the claim. A reader that has seen item and claim reads no older time
        // afterwards. If both are the same before and after the time was read, it is this item's or a later one's.
        let (first, second) = (self.read(), self.read());
        let is_same = (first.seq, first.claimed, first.item) == (second.seq, second.claimed, second.item);
        (is_same && second.claimed > 0).then_some(second)
    }

    pub(crate) fn read(&self) -> Progress {
        // The claim is read last, so that it is never older than the item.
        let since_ns = self.since_ns.load(Ordering::Relaxed);
        let (item, unpublished_end) = unpack(self.item.load(Ordering::Relaxed));
        fence(Ordering::Acquire); // SYNC UNPUBLISHED, with `begin_item`; a fence, since read-only memory allows only Relaxed loads
        let (seq, claimed) = unpack(self.claim.load(Ordering::Relaxed));
        fence(Ordering::Acquire); // SYNC STAMP, with `claim`: words that are read next, such as the time, are not older than the claim
        Progress { seq, claimed, item, unpublished_end, since_ns }
    }
}

#[inline]
fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << HIGH_SHIFT | u64::from(low)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "takes a packed word apart")]
fn unpack(word: u64) -> (u32, u32) {
    ((word >> HIGH_SHIFT) as u32, word as u32)
}

/// Marks items as begun, one after the other; see [`ProgressWriter::item_marks`] and [`ProgressWriter::end_marks`].
#[derive(Debug)]
pub struct ItemMarks<'a> {
    word: &'a AtomicU64,
    next: u64,
    step: u64,
}

impl ItemMarks<'_> {
    /// [`ProgressWriter::begin_item`] for the next item.
    #[inline]
    pub fn begin_next(&mut self) {
        // SYNC UNPUBLISHED, as in `begin_item`.
        self.word.store(self.next, publish_order());
        self.next = self.next.wrapping_add(self.step);
    }
}

/// Writes the worker's progress and its last words, which the host reads while the worker lives and after its death.
///
/// It is separate from the rings, so it can be used while a record is under construction, and clonable, so a panic hook or
/// signal handler can hold one, too. No method allocates, locks or makes a system call.
#[derive(Debug, Clone)]
pub struct ProgressWriter {
    marks: Shared<Marks>,
    last_words: Shared<LastWords>,
}

impl ProgressWriter {
    pub(super) fn new(marks: Shared<Marks>, last_words: Shared<LastWords>) -> ProgressWriter {
        ProgressWriter { marks, last_words }
    }

    /// Makes the first `claimed` items of request `seq` the worker's own.
    ///
    /// Read the record's [`limit`](crate::Consumer::limit) *after* this. The host lowers the limit
    /// ([`Producer::revise`](crate::Producer::revise)) and then reads
    /// [`HostEnd::progress`](crate::HostEnd::progress), so it finds this claim, or the worker finds the new limit, or both.
    #[inline]
    pub fn claim(&self, seq: u32, claimed: u32) {
        self.marks.claim(seq, claimed);
    }

    /// Marks `item` as begun; the results of the items before it end at `unpublished_end` in the record under construction, see
    /// [`Producer::unpublished_end`](crate::Producer::unpublished_end). One plain store.
    #[inline]
    pub fn begin_item(&self, item: u32, unpublished_end: u32) {
        self.marks.begin_item(item, unpublished_end);
    }

    /// [`begin_item`](ProgressWriter::begin_item) for a loop over items from `first` on with results of `size` bytes each. Also
    /// returns the number of items, at least one, that it can mark.
    #[inline]
    pub fn item_marks(&self, first: u32, unpublished_end: u32, size: u32) -> (ItemMarks<'_>, usize) {
        // Beyond that the lower half of the word, a number modulo 2^32, would overflow into the item.
        let most = ((u32::MAX - unpublished_end) / size.max(1)) as usize + 1;
        (ItemMarks { word: &self.marks.item, next: pack(first, unpublished_end), step: pack(1, size) }, most)
    }

    /// [`begin_item`](ProgressWriter::begin_item) for the same item again and again, each time with `size` bytes more than
    /// before, first than `unpublished_end`. Also returns the number of times that it can be done.
    #[inline]
    pub fn end_marks(&self, item: u32, unpublished_end: u32, size: u32) -> (ItemMarks<'_>, usize) {
        let most = ((u32::MAX - unpublished_end) / size.max(1)) as usize;
        let next = pack(item, unpublished_end.wrapping_add(size));
        (ItemMarks { word: &self.marks.item, next, step: pack(0, size) }, most)
    }

    /// The item that was marked last.
    #[inline]
    pub fn item(&self) -> u32 {
        unpack(self.marks.item.load(Ordering::Relaxed)).0
    }

    /// Sequence number of the request of the latest claim.
    pub fn request(&self) -> u32 {
        unpack(self.marks.claim.load(Ordering::Relaxed)).0
    }

    /// Stores the time at which the current work began; see [`monotonic_ns`](crate::sys::monotonic_ns).
    #[inline]
    pub fn stamp(&self, ns: u64) {
        self.marks.stamp(ns);
    }

    /// Leaves a text for the host, cut to [`LAST_WORDS_BYTES_MAX`](crate::LAST_WORDS_BYTES_MAX) bytes, in place of an earlier
    /// one. May be called in a signal handler.
    pub fn write_last_words(&self, text: &[u8]) {
        self.last_words.write(text);
    }

    /// Removes the text.
    #[inline]
    pub fn clear_last_words(&self) {
        self.last_words.clear();
    }
}
