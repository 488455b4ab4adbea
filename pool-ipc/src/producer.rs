//! The writing end of a ring; see [`ring`](super::ring).

#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::error::Error;
use super::memory::Memory;
use super::record::{HEADER_BYTES, Header, MORE, PAD, span};
use super::ring::{OneThread, has_earned_growth, is_crowded, unpublished_end_of};
use super::shared::Shared;
use super::stream::Distance;
use super::sync::{AtomicU64, Ordering, fence, publish_order, store_load_fence};

/// The writing end of a ring: one, which moves between threads but is not shared.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<pool_ipc::Producer>();
/// ```
#[derive(Debug)]
pub struct Producer {
    memory: Memory,
    /// Bytes of the memory, from its start, in which records may lie.
    extent: usize,
    /// Position at which it became that.
    grown_at: u64,
    /// The extent in shared memory, if the peer decides on it.
    extent_word: Option<Shared<AtomicU64>>,
    /// Our index, in shared memory, where the peer reads it.
    tail_word: Shared<AtomicU64>,
    /// The peer's index, in shared memory.
    head_word: Shared<AtomicU64>,
    tail: u64,
    /// The last value of the peer's index that passed the check.
    head: u64,
    /// A value of the peer's index that did not.
    fault: Option<u64>,
    /// How far the reader's CPU is from here.
    distance: Distance,
    one_thread: OneThread,
}

/// The progress of a message: see [`Producer::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "only a part of the message may have been sent"]
pub struct Sent {
    /// Bytes of the payload sent so far, including those of earlier calls. Pass it to the next call.
    pub sent: usize,
    /// Position of the first record that this call has written, if any.
    pub position: Option<u64>,
    /// The message is complete. Otherwise the ring is full: wait for room and call again.
    pub done: bool,
}

/// The longest piece of a message: the reader copies one while the next is written, and both stay in the caches.
const PIECE_BYTES_MAX: usize = 32 << 10;

impl Producer {
    /// The writing end of an empty ring.
    pub(super) fn new(memory: Memory, tail_word: Shared<AtomicU64>, head_word: Shared<AtomicU64>) -> Producer {
        let extent = memory.capacity();
        Producer {
            memory,
            extent,
            grown_at: 0,
            extent_word: None,
            tail_word,
            head_word,
            tail: 0,
            head: 0,
            fault: None,
            distance: Distance::default(),
            one_thread: PhantomData,
        }
    }

    /// Limits the ring to the first `extent` bytes of its memory until [`extend`](Producer::extend) or the peer's word allow
    /// more.
    pub(super) fn growing(self, extent: usize, extent_word: Option<Shared<AtomicU64>>) -> Producer {
        // A ring that may grow needs room for a record and for a pad.
        assert!(extent == self.capacity() || (2 * HEADER_BYTES..self.capacity()).contains(&extent));
        assert!(extent.is_multiple_of(HEADER_BYTES));
        Producer { extent, extent_word, ..self }
    }

    /// Allows records in the first `extent` bytes of the memory from now on.
    pub(super) fn extend(&mut self, extent: usize) {
        // Never smaller: records may lie up to the old end. Never past the memory: the peer's word may say anything.
        self.extent = extent.min(self.capacity()).max(self.extent);
        self.grown_at = self.tail;
    }

    /// True if the ring has been used so much at its present extent that growth is worth its memory, even if all that it gains is speed.
    #[inline]
    pub fn has_earned_growth(&self) -> bool {
        has_earned_growth(self.grown_at, self.tail, self.capacity(), self.extent)
    }

    /// Bytes of the memory in which records may lie: the capacity, unless the ring may still grow.
    #[inline]
    pub fn extent(&self) -> usize {
        self.extent
    }

    /// Bytes that the ring can hold when it has grown to its end, headers included.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Position of the next record.
    #[inline]
    pub fn position(&self) -> u64 {
        self.tail
    }

    /// Payload bytes that fit into one record now, or `None` if not even a header fits. Reads the peer's index only if its last
    /// known value leaves less than `want`, and the ring's end is not the reason.
    #[inline]
    pub fn room(&mut self, want: usize) -> Option<usize> {
        if self.to_end() == 0 && !self.turn() {
            return None;
        }
        // The peer's index is in a cache line that the peer writes, so it is read only when the last value is not enough.
        if self.block() < want.saturating_add(HEADER_BYTES).min(self.to_end()) {
            self.refresh();
        }
        self.block().checked_sub(HEADER_BYTES)
    }

    /// True if a message of `bytes` bytes fits into one record now. If it fits only at the ring's start, the producer goes there,
    /// so no record may be under construction.
    #[inline]
    pub fn fits(&mut self, bytes: usize) -> bool {
        self.room(bytes).is_some_and(|room| room >= bytes) || self.turn_for(bytes)
    }

    /// The payload space of the record under construction, as long as [`room`](Producer::room) says; empty if there is none.
    ///
    /// Bytes written here stay until a record is published, so one can be built over several calls. A record ends at the
    /// ring's end at the latest; build a message that must not be cut in memory of your own, and
    /// [`send`](Producer::send) it.
    #[inline]
    pub fn spare(&mut self, want: usize) -> &mut [u8] {
        match self.room(want) {
            // SAFETY: the bytes from `tail` on belong to the producer, that is to `self`, which stays borrowed.
            Some(len) => unsafe { self.memory.payload_mut(self.tail, len) },
            None => &mut [],
        }
    }

    /// As [`spare`](Producer::spare), as far as is known without a look at the peer's index. Empty if there may be more.
    #[inline]
    pub fn known_spare(&mut self) -> &mut [u8] {
        match self.block().checked_sub(HEADER_BYTES) {
            // SAFETY: the bytes from `tail` on belong to the producer, that is to `self`, which stays borrowed.
            Some(len) => unsafe { self.memory.payload_mut(self.tail, len) },
            None => &mut [],
        }
    }

    /// The place where the first `bytes` payload bytes of the record under construction end.
    /// [`ProgressWriter::begin_item`](crate::ProgressWriter::begin_item) takes it, and
    /// [`HostEnd::salvage`](crate::HostEnd::salvage) uses it to find results that were not published. Publish the results
    /// that the progress counts, or take them out of the progress before other bytes are written there.
    #[inline]
    pub fn unpublished_end(&self, bytes: usize) -> u32 {
        unpublished_end_of(self.tail, bytes)
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

    /// Writes the header word by word. Copying a header that has just been made would make the processor wait until all
    /// earlier stores, to memory that the peer has in its cache, are done.
    #[inline]
    fn publish_as(&mut self, header: &Header, flags: u16, len: usize) -> u64 {
        let room = self.block().checked_sub(HEADER_BYTES);
        // Checked in release builds, too: a longer record would overwrite records that the peer has not read.
        assert!(room.is_some_and(|room| len <= room), "a record of {len} bytes where there is room for {room:?}");
        #[expect(clippy::cast_possible_truncation, reason = "at most the capacity, which is at most 1 GiB")]
        self.memory.wire(self.tail).write(header, flags & !PAD, len as u32);
        let position = self.tail;
        self.tail += span(len) as u64;
        // SYNC TAIL, with `Consumer::refresh`: the record is whole before. Loom model: records_arrive_whole.
        self.tail_word.store(self.tail, publish_order());
        position
    }

    /// Sends as much of `payload[sent..]` as there is room for, in one or more records. All but the message's last carry
    /// [`MORE`]. An empty payload takes one empty record.
    ///
    /// A message that fits is one record. Any other goes in pieces of at most a quarter of the ring and 32 KiB, and of at
    /// least a [`step`](Producer::step), so that the peer copies one while the next is written.
    ///
    /// Start with `sent` 0, continue with [`Sent::sent`] until [`Sent::done`], and send nothing else in between.
    ///
    /// # Panics
    /// If `sent` is past the payload's end.
    #[inline]
    pub fn send(&mut self, header: &Header, payload: &[u8], sent: usize) -> Sent {
        // The usual case, a message that fits, is inlined into the caller; pieces are a call.
        if sent > 0 || self.room(payload.len()).is_none_or(|room| room < payload.len()) {
            return self.send_pieces(*header, payload, sent);
        }
        let position = self.send_record(header, header.flags & !MORE, payload);
        Sent { sent: payload.len(), position: Some(position), done: true }
    }

    fn send_pieces(&mut self, header: Header, payload: &[u8], sent: usize) -> Sent {
        let mut rest = &payload[sent..];
        let mut position = None;
        let mut done = rest.is_empty() && sent > 0; // the last call has sent all of it
        while !done {
            let is_begun = rest.len() < payload.len();
            let step = self.step(rest.len());
            let Some(room) = self.room(if is_begun { step } else { rest.len() }) else {
                break;
            };
            let piece = if is_begun || rest.len() > room { self.piece() } else { rest.len() };
            let len = room.min(rest.len()).min(piece);
            if len < step.min(self.to_end() - HEADER_BYTES) {
                break; // full: a smaller record helps only to get past the ring's end
            }
            let (now, later) = rest.split_at(len);
            done = later.is_empty();
            let flags = if done { header.flags & !MORE } else { header.flags | MORE };
            let at = self.send_record(&header, flags, now);
            position.get_or_insert(at);
            rest = later;
        }
        Sent { sent: payload.len() - rest.len(), position, done }
    }

    /// Sends one record, for which there must be room.
    #[inline]
    fn send_record(&mut self, header: &Header, flags: u16, payload: &[u8]) -> u64 {
        // In its first round the ring's memory comes fresh from the kernel, so a copy's time says nothing about the reader.
        let (mut distance, is_fresh) = (self.distance, self.tail < self.extent as u64);
        distance.copy(&mut self.spare(payload.len())[..payload.len()], payload, is_fresh);
        self.distance = distance;
        self.publish_as(header, flags, payload.len())
    }

    /// The shortest piece that is worth a record, of a message of which `rest` bytes are not sent.
    #[inline]
    pub fn step(&self, rest: usize) -> usize {
        rest.min(self.piece() / 2)
    }

    /// The longest record of a message that goes in several.
    #[inline]
    fn piece(&self) -> usize {
        (self.extent / 4).min(PIECE_BYTES_MAX)
    }

    /// True if [`send`](Producer::send) would send some of a message of which `rest` bytes are not sent.
    #[inline]
    pub fn takes(&mut self, rest: usize) -> bool {
        self.roomy(self.step(rest))
    }

    /// Changes the `limit` word of a published record. False, and nothing is changed, if the peer has released the
    /// record, since its bytes may have been used again.
    ///
    /// `position` is the one that [`publish`](Producer::publish) or [`send`](Producer::send) returned. Read the peer's claim
    /// *after* this: see [`ProgressWriter::claim`](crate::ProgressWriter::claim).
    pub fn revise(&mut self, position: u64, limit: u32) -> bool {
        // A fresh look, since a record that has been released may be another one by now. The peer may release it right after
        // this look; then the changed word belongs to free memory, which the next header overwrites.
        self.refresh();
        let there = (self.head..self.tail).contains(&position);
        if there {
            let word = self.memory.wire(position).limit();
            word.store(limit, Ordering::Relaxed);
        }
        // SYNC CLAIM, with `Marks::claim`: store the limit, then read the claim. Loom model: no_item_is_recalled_and_run.
        store_load_fence();
        there
    }

    /// True if the reader has released the record that was sent at `position`.
    pub fn is_released(&mut self, position: u64) -> bool {
        self.refresh();
        position < self.head
    }

    /// Bytes of the ring in use: records that are published and not yet released, with their headers and padding.
    pub fn backlog(&mut self) -> u64 {
        self.refresh();
        self.tail - self.head
    }

    /// True if the next record goes to the ring's start, since no header fits before the extent's end.
    #[inline]
    pub fn is_at_end(&self) -> bool {
        self.to_end() == 0
    }

    /// True if more than half of the ring is in use, and in one piece, so that growth gives room at once.
    pub fn is_crowded(&mut self) -> bool {
        self.refresh();
        is_crowded(self.head, self.tail, self.capacity(), self.extent)
    }

    /// Checks that the peer has written only possible indices so far. If not, the ring takes no room back any more, so
    /// waiting for room would be in vain.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the peer has written an impossible index.
    pub fn check(&self) -> Result<(), Error> {
        match self.fault {
            None => Ok(()),
            Some(found) => Err(Error::Corrupt { word: "head", found, bound: self.tail }),
        }
    }

    /// True if `want` bytes of payload fit into one record now, or, where the ring's end is nearer, all bytes up to it are
    /// free.
    pub fn roomy(&mut self, want: usize) -> bool {
        self.room(want).is_some_and(|room| room >= want.min(self.to_end() - HEADER_BYTES))
    }

    /// Writes a header that no producer writes.
    #[cfg(test)]
    pub(super) fn forge(&mut self, position: u64, header: &Header, flags: u16) {
        self.memory.wire(position).write(header, flags, 0);
    }

    /// Bytes in one piece from `tail` on that are ours: a multiple of 32.
    #[inline]
    fn block(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "at most the capacity")]
        let used = (self.tail - self.head) as usize;
        (self.memory.capacity() - used).min(self.to_end())
    }

    /// Bytes from `tail` to the place where records end. In a ring that may grow that is a header short of its extent, which
    /// leaves room for the [pad](PAD).
    #[inline]
    fn to_end(&self) -> usize {
        self.end() - self.memory.offset(self.tail)
    }

    #[inline]
    fn end(&self) -> usize {
        let capacity = self.memory.capacity();
        if self.extent < capacity { self.extent - HEADER_BYTES } else { capacity }
    }

    /// Goes on at the ring's start, since the extent ends here. False if the start is not free yet.
    #[cold]
    fn turn(&mut self) -> bool {
        self.refresh();
        self.to_end() > 0 || self.turn_for(0) // the ring has grown, or goes round
    }

    /// Goes on at the ring's start, if there is room for so many bytes of payload.
    #[cold]
    fn turn_for(&mut self, bytes: usize) -> bool {
        self.refresh();
        let capacity = self.memory.capacity() as u64;
        let start = self.tail + self.memory.to_end(self.tail) as u64;
        let end = start.saturating_add(HEADER_BYTES as u64).saturating_add(bytes as u64);
        // A pad at the start would lead to itself.
        if self.memory.offset(self.tail) == 0 || end - self.head > capacity || end - start > self.end() as u64 {
            return false;
        }
        self.memory.wire(self.tail).write(&Header::default(), PAD, 0);
        self.tail = start;
        // SYNC TAIL, as in `publish`. Loom model: records_arrive_whole_behind_a_pad.
        self.tail_word.store(self.tail, publish_order());
        true
    }

    /// Reads how far the peer has released records, and how far it lets the ring grow.
    #[inline]
    fn refresh(&mut self) {
        if let Some(word) = &self.extent_word {
            #[expect(clippy::cast_possible_truncation, reason = "at most the capacity")]
            let extent = word.load(Ordering::Relaxed) as usize;
            self.extend(extent);
        }
        let head = self.head_word.load(Ordering::Relaxed);
        // SYNC HEAD, with `Consumer::release`: the peer has read the bytes. A fence, since read-only memory allows only
        // Relaxed loads. Loom model: records_arrive_whole.
        fence(Ordering::Acquire);
        if (self.head..=self.tail).contains(&head) && head.is_multiple_of(HEADER_BYTES as u64) {
            self.head = head;
        } else {
            self.fault = Some(head);
        }
    }
}
