//! One direction of a lane: a ring of bytes with one producer and one consumer.
//!
//! The algorithm is Lamport's single-producer queue with cached indices, over records instead of slots. Positions count
//! bytes since the ring was made and only grow, so `tail - head` is the fill and no state is
//! ambiguous. What differs from the textbook:
//!
//! * The two indices lie in different pages, each writable in the process of its writer only. An end keeps its own
//!   index in private memory and never reads it back.
//! * The peer's index is *input*: it is believed only if an honest peer could have written it.
//! * Loads of the peer's index are Relaxed with an Acquire fence after them, because read-only memory allows no other
//!   atomic loads.
//!
//! # Invariants
//! * `head <= tail <= head + capacity`, all multiples of 32: of the private values always, of the shared ones if the
//!   peer is honest.
//! * Bytes from `head` to `tail` are records and belong to the consumer; the others belong to the producer.
//!
//! # Who pairs with whom
//! * SYNC TAIL: the producer's store of `tail` (Release) and the consumer's load hand over the bytes of records.
//! * SYNC HEAD: the consumer's store of `head` (Release) and the producer's load hand the bytes back: without it a copy
//!   could be delayed past the moment when the producer writes there again.
//! * SYNC CLAIM: see `Marks::claim` in progress.rs.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::error::Error;
use super::memory::Memory;
use super::record::{HEADER_BYTES, Header, MORE, Record, span};
use super::shared::Shared;
use super::sync::{AtomicU64, Ordering, fence, publish_order, store_load_fence};

/// Ends may move to another thread but not be shared: each index has one writer.
type OneThread = PhantomData<Cell<()>>;

/// The writing end of a ring: one, which moves between threads but is not shared.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<pool_ipc::Producer>();
/// ```
#[derive(Debug)]
pub struct Producer {
    memory: Memory,
    /// Our index, where the peer reads it.
    tail_word: Shared<AtomicU64>,
    /// The peer's index.
    head_word: Shared<AtomicU64>,
    tail: u64,
    /// The last value of the peer's index that was found good.
    head: u64,
    /// The value of the peer's index that was not.
    fault: Option<u64>,
    one_thread: OneThread,
}

/// The reading end of a ring: one, which moves between threads but is not shared.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<pool_ipc::Consumer>();
/// ```
#[derive(Debug)]
pub struct Consumer {
    memory: Memory,
    /// The peer's index.
    tail_word: Shared<AtomicU64>,
    /// Our index, where the peer reads it.
    head_word: Shared<AtomicU64>,
    head: u64,
    /// The last value of the peer's index that was found good.
    tail: u64,
    one_thread: OneThread,
}

/// How far [`Producer::send`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a message may be sent in part only"]
pub struct Sent {
    /// Bytes of the payload sent so far, those of earlier calls included: pass it to the next call.
    pub sent: usize,
    /// Where the first record lies that this call has written, if it has written any.
    pub position: Option<u64>,
    /// Whether the message is complete. If not, the ring is full: wait for room and call again.
    pub done: bool,
}

impl Producer {
    /// The writing end of an empty ring.
    pub(super) fn new(memory: Memory, tail_word: Shared<AtomicU64>, head_word: Shared<AtomicU64>) -> Producer {
        Producer { memory, tail_word, head_word, tail: 0, head: 0, fault: None, one_thread: PhantomData }
    }

    /// Bytes that the ring can hold, headers included.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Where the next record will lie.
    #[inline]
    pub fn position(&self) -> u64 {
        self.tail
    }

    /// Payload bytes that fit into one record now, or `None` if not even a header fits. Looks at the peer's index
    /// only if what was known of it leaves less than `want`, and if the ring's end is not the reason.
    #[inline]
    pub fn room(&mut self, want: usize) -> Option<usize> {
        let most = self.memory.to_end(self.tail);
        if self.block() < want.saturating_add(HEADER_BYTES).min(most) {
            self.refresh();
        }
        self.block().checked_sub(HEADER_BYTES)
    }

    /// The payload space of the record under construction: what [`room`](Producer::room) says, and empty if there is
    /// none.
    ///
    /// What is written here stays until something is published, so a record can be built up over several calls. A
    /// record ends at the ring's end at the latest; build what must not be cut elsewhere and
    /// [`send`](Producer::send) it.
    #[inline]
    pub fn spare(&mut self, want: usize) -> &mut [u8] {
        match self.room(want) {
            // SAFETY: the bytes from `tail` on belong to the producer, that is to `self`, which stays borrowed.
            Some(len) => unsafe { self.memory.payload_mut(self.tail, len) },
            None => &mut [],
        }
    }

    /// Where the first `bytes` payload bytes of the record under construction end: what
    /// [`Journal::begin_item`](crate::Journal::begin_item) is told of results that are not published yet, and
    /// [`HostEnd::salvage`](crate::HostEnd::salvage) looks for. Publish what the journal counts, or take it out of the
    /// journal before something else is written there.
    #[inline]
    pub fn draft_end(&self, bytes: usize) -> u32 {
        draft_end_of(self.tail, bytes)
    }

    /// Makes a record of the first `len` bytes of [`spare`](Producer::spare) and hands it to the peer. Returns its
    /// position.
    ///
    /// # Panics
    /// If the record is larger than `spare` was.
    #[inline]
    pub fn publish(&mut self, header: &Header, len: usize) -> u64 {
        self.publish_as(header, header.flags, len)
    }

    /// Word by word: a header that has just been made and is copied as a whole keeps the processor waiting until all that
    /// was written before it, to memory that the peer has in its cache, is there.
    #[inline]
    fn publish_as(&mut self, header: &Header, flags: u16, len: usize) -> u64 {
        let room = self.block().checked_sub(HEADER_BYTES);
        assert!(room.is_some_and(|room| len <= room), "a record of {len} bytes where there is room for {room:?}");
        #[expect(clippy::cast_possible_truncation, reason = "at most the capacity, which is at most 1 GiB")]
        self.memory.wire(self.tail).write(header, flags, len as u32);
        let position = self.tail;
        self.tail += span(len) as u64;
        self.tail_word.store(self.tail, publish_order()); // SYNC TAIL
        position
    }

    /// Sends as much of `payload[sent..]` as there is room for, in one or more records that all but the message's last
    /// carry [`MORE`]. An empty payload takes one empty record.
    ///
    /// A message that fits is one record. Any other goes in pieces of at most a quarter of the ring, so that the peer
    /// takes one while the next is written, and of at least a [`step`](Producer::step).
    ///
    /// Start with `sent` 0, go on with [`Sent::sent`] until [`Sent::done`], and send nothing else in between.
    ///
    /// # Panics
    /// If `sent` is past the payload's end.
    pub fn send(&mut self, header: &Header, payload: &[u8], sent: usize) -> Sent {
        let mut rest = &payload[sent..];
        let mut position = None;
        let mut done = rest.is_empty() && sent > 0; // the last call was told so, and asks again
        while !done {
            let is_begun = rest.len() < payload.len();
            let step = self.step(rest.len());
            let Some(room) = self.room(if is_begun { step } else { rest.len() }) else {
                break;
            };
            let piece = if is_begun || rest.len() > room { self.capacity() / 4 } else { rest.len() };
            let len = room.min(rest.len()).min(piece);
            if len < step.min(self.memory.to_end(self.tail) - HEADER_BYTES) {
                break; // full; a small record is of use only to get past the ring's end
            }
            let (now, later) = rest.split_at(len);
            done = later.is_empty();
            let flags = if done { header.flags & !MORE } else { header.flags | MORE };
            self.spare(len)[..len].copy_from_slice(now);
            let at = self.publish_as(header, flags, len);
            position.get_or_insert(at);
            rest = later;
        }
        Sent { sent: payload.len() - rest.len(), position, done }
    }

    /// Bytes of a message, of which `rest` are not sent, that are worth a record of their own.
    #[inline]
    pub fn step(&self, rest: usize) -> usize {
        rest.min(self.capacity() / 8)
    }

    /// Whether [`send`](Producer::send) would send something of a message of which `rest` bytes are not sent.
    #[inline]
    pub fn takes(&mut self, rest: usize) -> bool {
        self.roomy(self.step(rest))
    }

    /// Changes the `limit` word of a published record. False, and nothing is changed, if the peer has released the
    /// record, since its bytes may have been used again.
    ///
    /// `position` is what [`publish`](Producer::publish) or [`send`](Producer::send) returned. Read the peer's claim
    /// *after* this: see [`Journal::claim`](crate::Journal::claim).
    pub fn revise(&mut self, position: u64, limit: u32) -> bool {
        self.refresh();
        let there = (self.head..self.tail).contains(&position);
        if there {
            let word = self.memory.wire(position).limit();
            word.store(limit, Ordering::Relaxed);
        }
        store_load_fence(); // SYNC CLAIM: our limit before our look at the claim
        there
    }

    /// Bytes of the ring in use: records that are published and not yet released, with their headers and padding.
    pub fn backlog(&mut self) -> u64 {
        self.refresh();
        self.tail - self.head
    }

    /// Whether everything read from the peer so far was what an honest peer writes. If not, the ring takes no room back
    /// any more, so waiting for some would be in vain.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the peer has written an impossible index.
    pub fn check(&self) -> Result<(), Error> {
        match self.fault {
            None => Ok(()),
            Some(found) => Err(Error::Corrupt { word: "head", found, bound: self.tail }),
        }
    }

    /// Whether there is as much room for a record with `want` bytes of payload as the place can ever give: all of it,
    /// or all that is left before the ring's end.
    pub(super) fn roomy(&mut self, want: usize) -> bool {
        let most = self.memory.to_end(self.tail) - HEADER_BYTES;
        self.room(want).is_some_and(|room| room >= want.min(most))
    }

    /// Bytes in one piece from `tail` on that are ours: a multiple of 32.
    #[inline]
    fn block(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "at most the capacity")]
        let used = (self.tail - self.head) as usize;
        (self.memory.capacity() - used).min(self.memory.to_end(self.tail))
    }

    /// Takes note of what the peer has released.
    fn refresh(&mut self) {
        let head = self.head_word.load(Ordering::Relaxed);
        fence(Ordering::Acquire); // SYNC HEAD
        if (self.head..=self.tail).contains(&head) && head.is_multiple_of(HEADER_BYTES as u64) {
            self.head = head;
        } else {
            self.fault = Some(head);
        }
    }
}

impl Consumer {
    /// The reading end of an empty ring.
    pub(super) fn new(memory: Memory, tail_word: Shared<AtomicU64>, head_word: Shared<AtomicU64>) -> Consumer {
        Consumer { memory, tail_word, head_word, head: 0, tail: 0, one_thread: PhantomData }
    }

    /// Bytes that the ring can hold, headers included.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Whether there is something to look at: a record, or the traces of a peer gone wrong. One plain load.
    #[inline]
    pub fn has_news(&self) -> bool {
        // Relaxed: `peek` loads again, with the fence.
        self.tail != self.head || self.tail_word.load(Ordering::Relaxed) != self.head
    }

    /// The oldest record that has not been released, again and again until it is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the peer's index or the record's length is impossible.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Record>, Error> {
        self.look(self.head)
    }

    /// The record behind `record`, which may not have been released yet.
    ///
    /// # Errors
    /// As for [`peek`](Consumer::peek).
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    #[inline]
    pub fn peek_after(&mut self, record: &Record) -> Result<Option<Record>, Error> {
        self.own(record);
        self.look(record.next)
    }

    /// Appends the payload to `out`. The peer may be writing there at the same time: the bytes are whatever they are.
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    pub fn copy(&self, record: &Record, out: &mut Vec<u8>) {
        self.own(record);
        self.memory.append_payload(record.position, record.len, out);
    }

    /// Fills `out` with the payload's bytes from `at` on, as [`copy`](Consumer::copy) does.
    ///
    /// # Panics
    /// If that is more than the payload holds, or `record` has been released or is not of this ring.
    pub fn copy_range(&self, record: &Record, at: usize, out: &mut [u8]) {
        // SAFETY:
        // - a `MaybeUninit<u8>` is laid out as a `u8`;
        // - `copy_to` writes bytes into it and nothing uninitialised.
        let out = unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<u8>]) };
        self.copy_to(record, at, out);
    }

    /// As [`copy_range`](Consumer::copy_range), into memory that need not have been written before. All of `out` is.
    ///
    /// # Panics
    /// As there.
    pub fn copy_to(&self, record: &Record, at: usize, out: &mut [MaybeUninit<u8>]) {
        self.own(record);
        assert!(
            at <= record.len && out.len() <= record.len - at,
            "{} bytes at {at} of a payload of {}",
            out.len(),
            record.len
        );
        self.memory.copy_payload(record.position, at, out);
    }

    /// The payload, in place.
    ///
    /// # Safety
    /// The producer must be trusted not to touch the bytes of a record that is not released: right for a worker, which
    /// trusts its host; wrong for a host.
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    #[inline]
    pub unsafe fn bytes(&self, record: &Record) -> &[u8] {
        self.own(record);
        // SAFETY: the record is not released, nor can be while `self` is borrowed, and the caller trusts the producer.
        unsafe { self.memory.payload_ref(record.position, record.len) }
    }

    /// The record's `limit` word as it is now; see [`Journal::claim`](crate::Journal::claim).
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    #[inline]
    pub fn limit(&self, record: &Record) -> u32 {
        self.own(record);
        let word = self.memory.wire(record.position).limit();
        word.load(Ordering::Relaxed)
    }

    /// Gives the bytes of `record`, and of all records before it, back to the producer. Does nothing if they have been
    /// given back already.
    #[inline]
    pub fn release(&mut self, record: &Record) {
        if record.next <= self.head {
            return;
        }
        assert!(record.next <= self.tail, "a record of another ring");
        self.head = record.next;
        self.head_word.store(self.head, publish_order()); // SYNC HEAD
    }

    /// Copies the dead producer's draft that ended at `draft_end`, if it can have ended there.
    pub(super) fn salvage(&mut self, draft_end: u32, out: &mut Vec<u8>) -> bool {
        if self.refresh().is_err() {
            return false;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most the capacity")]
        let used = (self.tail - self.head) as usize;
        let block = (self.memory.capacity() - used).min(self.memory.to_end(self.tail));
        // Of a draft that was published since, the end is not after `tail`: that makes a number larger than any ring.
        let bytes = draft_end.wrapping_sub(draft_end_of(self.tail, 0)) as usize;
        let fits = block.checked_sub(HEADER_BYTES).is_some_and(|room| bytes <= room);
        if fits {
            self.memory.append_payload(self.tail, bytes, out);
        }
        fits
    }

    /// The record at `position`, which is within `head..=tail`.
    #[inline]
    fn look(&mut self, position: u64) -> Result<Option<Record>, Error> {
        if position == self.tail {
            self.refresh()?;
            if position == self.tail {
                return Ok(None);
            }
        }
        let (header, len) = self.memory.wire(position).read();
        // Neither past what is published nor past the ring's end. Both are multiples of a header's size and not 0.
        let most = (self.tail - position).min(self.memory.to_end(position) as u64) - HEADER_BYTES as u64;
        if u64::from(len) > most {
            return Err(corrupt("len", u64::from(len), most));
        }
        let len = len as usize;
        Ok(Some(Record { header, len, position, next: position + span(len) as u64 }))
    }

    /// Takes note of what the peer has published.
    #[inline]
    fn refresh(&mut self) -> Result<(), Error> {
        let tail = self.tail_word.load(Ordering::Relaxed);
        fence(Ordering::Acquire); // SYNC TAIL
        let most = self.head + self.memory.capacity() as u64;
        if tail < self.tail || tail > most || !tail.is_multiple_of(HEADER_BYTES as u64) {
            return Err(corrupt("tail", tail, most));
        }
        self.tail = tail;
        Ok(())
    }

    /// Only records that are in the ring may be read: the bytes of others are the producer's again.
    #[inline]
    fn own(&self, record: &Record) {
        assert!(
            self.head <= record.position && record.next <= self.tail,
            "a record that has been released, or is of another ring"
        );
        assert!(
            record.len as u64 <= record.next - record.position - HEADER_BYTES as u64,
            "a record whose length was changed"
        );
    }
}

/// A place in the ring rather than a number of bytes, so that it is of no value any more once the draft is published.
/// 32 bits tell it from any other within reach, since a ring has at most 2^30 bytes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are enough")]
fn draft_end_of(position: u64, bytes: usize) -> u32 {
    (position as u32).wrapping_add(HEADER_BYTES as u32).wrapping_add(bytes as u32)
}

#[cold]
fn corrupt(word: &'static str, found: u64, bound: u64) -> Error {
    Error::Corrupt { word, found, bound }
}
