//! The reading end of a ring; see [`ring`](super::ring).

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::error::Error;
use super::memory::Memory;
use super::record::{HEADER_BYTES, PAD, Record, span};
use super::ring::{OneThread, has_earned_growth, is_crowded, unpublished_end_of};
use super::shared::Shared;
use super::sync::{AtomicU64, Ordering, fence, publish_order};

/// The reading end of a ring: one, which moves between threads but is not shared.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<pool_ipc::Consumer>();
/// ```
#[derive(Debug)]
pub struct Consumer {
    memory: Memory,
    /// Bytes of the memory, from its start, in which records may lie.
    extent: usize,
    /// Position at which it became that.
    grown_at: u64,
    /// The peer's index, in shared memory.
    tail_word: Shared<AtomicU64>,
    /// Our index, in shared memory, where the peer reads it.
    head_word: Shared<AtomicU64>,
    head: u64,
    /// The last value of the peer's index that passed the check.
    tail: u64,
    one_thread: OneThread,
}

impl Consumer {
    /// The reading end of an empty ring.
    pub(super) fn new(memory: Memory, tail_word: Shared<AtomicU64>, head_word: Shared<AtomicU64>) -> Consumer {
        let extent = memory.capacity();
        Consumer { memory, extent, grown_at: 0, tail_word, head_word, head: 0, tail: 0, one_thread: PhantomData }
    }

    /// Limits the ring to the first `extent` bytes of its memory until it is extended.
    pub(super) fn growing(self, extent: usize) -> Consumer {
        Consumer { extent, ..self }
    }

    /// Allows records in the first `extent` bytes of the memory from now on.
    pub(super) fn extend(&mut self, extent: usize) {
        self.extent = extent.min(self.capacity()).max(self.extent);
        // A position and no count of rounds, since records are released more often than a ring grows.
        self.grown_at = self.head;
    }

    /// True if the ring has been used so much at its present extent that growth is worth its memory, even if all that it gains is speed.
    #[inline]
    pub fn has_earned_growth(&self) -> bool {
        has_earned_growth(self.grown_at, self.head, self.capacity(), self.extent)
    }

    /// Bytes of the memory in which records may lie: the capacity, unless the ring may still grow.
    #[inline]
    pub fn extent(&self) -> usize {
        self.extent
    }

    /// True if more than half of the ring was in use at the last look, and in one piece, so that growth gives room at once.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        is_crowded(self.head, self.tail, self.capacity(), self.extent)
    }

    /// Bytes that the ring can hold when it has grown to its end, headers included.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// True if [`peek`](Consumer::peek) would return a record or an error. One plain load.
    #[inline]
    pub fn has_news(&self) -> bool {
        // Relaxed: `peek` loads again, with the fence.
        self.tail != self.head || self.tail_word.load(Ordering::Relaxed) != self.head
    }

    /// The oldest record that has not been released.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the peer's index or the record's length is impossible.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Record>, Error> {
        self.look(self.head)
    }

    /// The record behind `record`, which must not have been released.
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

    /// Appends the payload to `out`. The peer may be writing it at the same time, so the bytes are unchecked input.
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
    #[inline]
    pub fn copy_range(&self, record: &Record, at: usize, out: &mut [u8]) {
        // SAFETY:
        // - a `MaybeUninit<u8>` is laid out as a `u8`;
        // - `copy_to` writes bytes into it and nothing uninitialised.
        let out = unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<u8>]) };
        self.copy_to(record, at, out);
    }

    /// The payload's first 16 bytes as two words as they lie in memory; bytes behind its end are arbitrary.
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    #[inline]
    pub fn start(&self, record: &Record) -> [u64; 2] {
        self.own(record);
        // A payload that is not empty has room for a multiple of 32 bytes.
        if record.len == 0 { [0; 2] } else { self.memory.payload_start(record.position) }
    }

    /// As [`copy_range`](Consumer::copy_range), into memory that need not be initialized. All of `out` is written.
    ///
    /// # Panics
    /// As there.
    #[inline]
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
    /// The producer must be trusted not to write the bytes of a record that is not released: a worker may trust its host so,
    /// but not the other way round.
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    #[inline]
    pub unsafe fn bytes(&self, record: &Record) -> &[u8] {
        self.own(record);
        // SAFETY: the record is not released, nor can be while `self` is borrowed, and the caller trusts the producer.
        unsafe { self.memory.payload_ref(record.position, record.len) }
    }

    /// The record's `limit` word as it is now; see [`ProgressWriter::claim`](crate::ProgressWriter::claim).
    ///
    /// # Panics
    /// If `record` has been released or is not of this ring.
    #[inline]
    pub fn limit(&self, record: &Record) -> u32 {
        self.own(record);
        let word = self.memory.wire(record.position).limit();
        word.load(Ordering::Relaxed)
    }

    /// Gives the bytes of `record`, and of all records before it, back to the producer. Does nothing if they have been given
    /// back before.
    #[inline]
    pub fn release(&mut self, record: &Record) {
        if record.next <= self.head {
            return;
        }
        assert!(record.next <= self.tail, "a record of another ring");
        self.head = record.next;
        // One store gives back all records up to here.
        // SYNC HEAD, with `Producer::refresh`: reads of the bytes end before. Loom model: records_arrive_whole.
        self.head_word.store(self.head, publish_order());
    }

    /// Appends the payload that the producer had written and not published up to `unpublished_end`. False if it cannot have
    /// ended there.
    pub(super) fn salvage(&mut self, unpublished_end: u32, out: &mut Vec<u8>) -> bool {
        // The worker is dead, so its words change no more, but they are unchecked: it may have written anything before.
        if self.refresh().is_err() {
            return false;
        }
        let bytes = self.unpublished(unpublished_end);
        if let Some(bytes) = bytes {
            self.memory.append_payload(self.tail, bytes, out);
        }
        bytes.is_some()
    }

    /// Bytes of payload that the producer had written behind the last known record, if they can have ended there.
    pub(super) fn unpublished(&self, unpublished_end: u32) -> Option<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "at most the capacity")]
        let used = (self.tail - self.head) as usize;
        let block = (self.memory.capacity() - used).min(self.extent.saturating_sub(self.memory.offset(self.tail)));
        // If the record has been published since, its end is not after `tail`: the difference is larger than any ring.
        let bytes = unpublished_end.wrapping_sub(unpublished_end_of(self.tail, 0)) as usize;
        block.checked_sub(HEADER_BYTES).is_some_and(|room| bytes <= room).then_some(bytes)
    }

    /// The record at `position`, which is within `head..=tail`, or behind a pad there.
    #[inline]
    fn look(&mut self, mut position: u64) -> Result<Option<Record>, Error> {
        loop {
            if position == self.tail {
                self.refresh()?;
                if position == self.tail {
                    return Ok(None);
                }
            }
            // A record never begins where no header fits, so such a position is a lie of the peer's.
            let offset = self.memory.offset(position);
            let Some(room) = self.extent.checked_sub(offset + HEADER_BYTES) else {
                return Err(corrupt("tail", position, self.extent as u64));
            };
            let (header, len) = self.memory.wire(position).read();
            if header.flags & PAD != 0 {
                position = self.skip(position)?;
                continue;
            }
            // A payload ends neither past the tail nor past the extent. Both are multiples of a header's size.
            let most = (self.tail - position - HEADER_BYTES as u64).min(room as u64);
            if u64::from(len) > most {
                return Err(corrupt("len", u64::from(len), most));
            }
            let len = len as usize;
            return Ok(Some(Record { header, len, position, next: position + span(len) as u64 }));
        }
    }

    /// The position of the ring's start, to which the pad at `position` leads. A pad at offset 0 is corrupt: accepting it
    /// would loop for ever.
    #[cold]
    fn skip(&mut self, position: u64) -> Result<u64, Error> {
        let start = position + self.memory.to_end(position) as u64;
        if start > self.tail || self.memory.offset(position) == 0 {
            return Err(corrupt("flags", position, start));
        }
        // Released at once: nobody will release a pad, and until then its bytes are no room for the producer. A pad behind
        // records that are still held goes with the next of them.
        if position == self.head {
            self.head = start;
            // SYNC HEAD, as in `release`. Loom model: records_arrive_whole_behind_a_pad.
            self.head_word.store(self.head, publish_order());
        }
        Ok(start)
    }

    /// Reads the peer's index and checks it.
    #[inline]
    fn refresh(&mut self) -> Result<(), Error> {
        let tail = self.tail_word.load(Ordering::Relaxed);
        // SYNC TAIL, with `Producer::publish`: records up to here are whole. A fence, since read-only memory allows only
        // Relaxed loads. Loom model: records_arrive_whole.
        fence(Ordering::Acquire);
        // The index may only grow, by no more than the ring holds, and in steps of a header. A peer that breaks this is
        // refused here, so everything that follows may trust `self.tail`.
        let most = self.head + self.memory.capacity() as u64;
        if tail < self.tail || tail > most || !tail.is_multiple_of(HEADER_BYTES as u64) {
            return Err(corrupt("tail", tail, most));
        }
        self.tail = tail;
        Ok(())
    }

    /// Panics unless `record` is in the ring: the bytes of any other belong to the producer.
    #[inline]
    fn own(&self, record: &Record) {
        // `Record` is `Copy`, so a caller may hold one that has been released; its bytes are the producer's again.
        assert!(
            self.head <= record.position && record.next <= self.tail,
            "a record that has been released, or is of another ring"
        );
        assert!(
            record.len as u64 <= record.next - record.position - HEADER_BYTES as u64,
            "a record with a changed length"
        );
    }
}

#[cold]
fn corrupt(word: &'static str, found: u64, bound: u64) -> Error {
    Error::Corrupt { word, found, bound }
}
