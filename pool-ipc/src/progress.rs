//! How far the worker is, told in three words that cost it one store each.

use super::last_words::LastWords;
use super::shared::Shared;
use super::sync::{AtomicU64, Ordering, fence, publish_order, store_load_fence};

/// The worker's words as the host found them: unchecked values, each read on its own. They agree with one another once
/// the worker is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The message that the worker is at.
    pub seq: u32,
    /// How many of its items the worker has claimed.
    pub claimed: u32,
    /// The item that it has begun.
    pub item: u32,
    /// Where the results of the items before that one end, in the record that is not published yet: see
    /// [`HostEnd::salvage`](crate::HostEnd::salvage).
    pub unpublished_end: u32,
    /// When it began, on the worker's `CLOCK_MONOTONIC`, in nanoseconds.
    pub since_ns: u64,
}

/// The words themselves, in the worker's page.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Marks {
    /// `{ seq: 32, claimed: 32 }`, from the high bits to the low: one word, so that they never disagree.
    claim: AtomicU64,
    /// `{ item: 32, unpublished_end: 32 }`
    item: AtomicU64,
    since_ns: AtomicU64,
}

const HIGH_SHIFT: u32 = 32;

impl Marks {
    #[inline]
    pub(crate) fn claim(&self, seq: u32, claimed: u32) {
        // SYNC STAMP, with `read`: Release, so that whoever sees the claim sees the time and the item before it. A plain
        // store on x86.
        self.claim.store(pack(seq, claimed), publish_order());
        // SYNC CLAIM, with `Producer::revise`: our claim before our look at the limit. The host stores the limit, then
        // looks at the claim. With a fence on both sides at least one of the two sees what the other has written.
        store_load_fence();
    }

    #[inline]
    pub(crate) fn begin_item(&self, item: u32, unpublished_end: u32) {
        // SYNC UNPUBLISHED, with `read`: Release, so that whoever sees `draft` sees the bytes before it. A plain store
        // on x86.
        self.item.store(pack(item, unpublished_end), publish_order());
    }

    #[inline]
    pub(crate) fn stamp(&self, ns: u64) {
        self.since_ns.store(ns, Ordering::Relaxed);
    }

    /// The item that the worker runs, with the time at which it began or, at worst, a later item did.
    pub(crate) fn running(&self) -> Option<Progress> {
        // A worker notes the time, then the item, then the claim. Whoever has seen item and claim reads no older time
        // afterwards; and if they are the same after the time was read as before, it is this item's or a later one's.
        let (first, second) = (self.read(), self.read());
        let is_same = (first.seq, first.claimed, first.item) == (second.seq, second.claimed, second.item);
        (is_same && second.claimed > 0).then_some(second)
    }

    pub(crate) fn read(&self) -> Progress {
        // The claim last, so that it is never older than the item found under it.
        let since_ns = self.since_ns.load(Ordering::Relaxed);
        let (item, unpublished_end) = unpack(self.item.load(Ordering::Relaxed));
        fence(Ordering::Acquire); // SYNC UNPUBLISHED; a fence, since on read-only memory only Relaxed loads are allowed
        let (seq, claimed) = unpack(self.claim.load(Ordering::Relaxed));
        fence(Ordering::Acquire); // SYNC STAMP: what is read next, a time for instance, is not older than this claim
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

/// Says of items one after the other that they begin; see [`ProgressWriter::item_marks`].
#[derive(Debug)]
pub struct ItemMarks<'a> {
    word: &'a AtomicU64,
    next: u64,
    step: u64,
}

impl ItemMarks<'_> {
    /// [`ProgressWriter::begin_item`], of the next item.
    #[inline]
    pub fn begin_next(&mut self) {
        // SYNC UNPUBLISHED, as in `begin_item`.
        self.word.store(self.next, publish_order());
        self.next = self.next.wrapping_add(self.step);
    }
}

/// The worker's pen for what the host reads after the worker's death, or before: progress and the last note.
///
/// Apart from the rings, so that it can be used while a record is under construction, and clonable, so that a
/// panic hook or signal handler can hold one too. No method allocates, locks or makes a system call.
#[derive(Debug, Clone)]
pub struct ProgressWriter {
    marks: Shared<Marks>,
    last_words: Shared<LastWords>,
}

impl ProgressWriter {
    pub(super) fn new(marks: Shared<Marks>, last_words: Shared<LastWords>) -> ProgressWriter {
        ProgressWriter { marks, last_words }
    }

    /// Says that the first `claimed` items of message `seq` are the worker's from now on.
    ///
    /// Look at the record's [`limit`](crate::Consumer::limit) *after* this: the host that lowers the limit
    /// ([`Producer::revise`](crate::Producer::revise)) and then looks at
    /// [`HostEnd::progress`](crate::HostEnd::progress) either finds this claim, or the worker finds the new limit, or
    /// both.
    #[inline]
    pub fn claim(&self, seq: u32, claimed: u32) {
        self.marks.claim(seq, claimed);
    }

    /// Says that `item` begins, and that the results of those before it end at `draft` in the record under
    /// construction: [`Producer::unpublished_end`](crate::Producer::unpublished_end). One plain store.
    #[inline]
    pub fn begin_item(&self, item: u32, unpublished_end: u32) {
        self.marks.begin_item(item, unpublished_end);
    }

    /// [`begin_item`](ProgressWriter::begin_item) for a loop over many items, from `first` on, whose results take `size` bytes
    /// each; and of how many of them, one or more, it can say so.
    #[inline]
    pub fn item_marks(&self, first: u32, unpublished_end: u32, size: u32) -> (ItemMarks<'_>, usize) {
        // Beyond that the unpublished_end, which is a number modulo 2^32, would run into the item.
        let most = ((u32::MAX - unpublished_end) / size.max(1)) as usize + 1;
        (ItemMarks { word: &self.marks.item, next: pack(first, unpublished_end), step: pack(1, size) }, most)
    }

    /// The item that was said to begin last.
    #[inline]
    pub fn item(&self) -> u32 {
        unpack(self.marks.item.load(Ordering::Relaxed)).0
    }

    /// Says when the current work began; see [`monotonic_ns`](crate::sys::monotonic_ns).
    #[inline]
    pub fn stamp(&self, ns: u64) {
        self.marks.stamp(ns);
    }

    /// Leaves a note for the host, cut to [`LAST_WORDS_BYTES_MAX`](crate::LAST_WORDS_BYTES_MAX) bytes, in place of an earlier one.
    /// May be called in a signal handler.
    pub fn write_last_words(&self, text: &[u8]) {
        self.last_words.write(text);
    }

    /// Takes the note away.
    #[inline]
    pub fn clear_last_words(&self) {
        self.last_words.clear();
    }
}
