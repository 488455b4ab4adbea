//! Memory that the host writes once and all workers read in place, for bytes to which a request only points (zero-copy).
//!
//! It is part of the hub's memory, in two parts. The first is cut into *segments* of one size, for blocks of many values. The
//! second holds *large* segments of any size, for one value each. The owner of a [`Segment`] writes it, sends the location of
//! the bytes ([`Written::locate`]), and keeps it until the reply: the rings order these accesses. Workers can only read the
//! memory.
//!
//! Among segments of one size the one that has been free for longest is used next, since bytes that lie in another CPU's
//! second-level cache are slow to overwrite. The rings of a lane are large for the same reason. But fresh memory of the kernel takes
//! ten times as long to write (5 ms for a MiB on a virtual machine, and 0.1 ms the second time). So few segments take turns at
//! first, and more with each that is taken; and a large segment is taken from memory that was used before, if there is enough in one
//! piece.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::extents::Extents;
use super::region::{Access, Mapping};
use super::stream::{Distance, settle, stream};

/// Size of a segment. Each costs some work of its own: a map of numbers is 7 % faster than with 32 KiB, and no faster with 128
/// KiB.
pub const SEGMENT_BYTES: usize = 64 << 10;

/// Size of an encoded location (offset and length).
pub const LOCATION_BYTES: usize = 8;

/// Segments of one size that take turns at first: enough for two workers to read some while the host writes the next.
const FIRST_SEGMENTS: u32 = 6;

/// For so many segments that were taken, one more takes turns: so fresh memory is at most this share of the bytes that a map carries.
const TAKES_PER_FRESH: u32 = 32;

/// The host's side.
#[derive(Debug)]
pub struct Arena(Arc<Ground>);

#[derive(Debug)]
struct Ground {
    mapping: Arc<Mapping>,
    /// Offset of the arena in the mapping.
    at: usize,
    /// Bytes of the segments of one size, before the large ones.
    small_bytes: usize,
    free: Mutex<Free>,
    large: Mutex<Extents>,
}

/// The segments of one size without an owner.
#[derive(Debug)]
struct Free {
    /// Segments that have memory, in the order in which they became free.
    used: VecDeque<u32>,
    /// Segments that have none yet.
    fresh: Range<u32>,
    /// Segments taken since the last fresh one.
    takes: u32,
    /// How far the workers' CPUs are from here.
    distance: Distance,
}

/// Ownership of a segment, which is free again when this is dropped.
#[derive(Debug)]
struct Hold {
    ground: Arc<Ground>,
    /// Its bytes, as offsets in the arena.
    range: Range<usize>,
}

/// A segment that its owner writes.
#[derive(Debug)]
pub struct Segment {
    hold: Hold,
    is_far: bool,
}

/// A segment that has been written and is read in place. It is free again when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Written(Arc<Hold>);

/// Tells whether a segment is still in use, without keeping it.
#[derive(Debug, Clone)]
pub struct InUse(Weak<Hold>);

impl InUse {
    /// True until the last [`Written`] of the segment is dropped.
    pub fn is_in_use(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Arena {
    /// An arena from offset `at` of the mapping on: `segments` segments of one size, then `large_bytes` for large ones.
    pub(crate) fn new(mapping: Arc<Mapping>, at: usize, segments: u32, large_bytes: usize) -> Arena {
        let free = Free { used: VecDeque::new(), fresh: 0..segments, takes: 0, distance: Distance::default() };
        let small_bytes = segments as usize * SEGMENT_BYTES;
        let large = Mutex::new(Extents::new(small_bytes..small_bytes + large_bytes));
        Arena(Arc::new(Ground { mapping, at, small_bytes, free: Mutex::new(free), large }))
    }

    /// Takes a segment of arbitrary bytes, of those that take turns. `None` if all of these are taken.
    ///
    /// A process that the host has forked does not have the memory and must not call this.
    pub fn take(&self) -> Option<Segment> {
        self.take_of(Free::has_earned_fresh)
    }

    /// As [`take`](Arena::take), but if all of them are taken, another one takes turns from now on. `None` if there is no other,
    /// or if the kernel has no memory for it or (before Linux 5.14) cannot tell.
    pub fn take_or_grow(&self) -> Option<Segment> {
        self.take_of(|free| free.used.is_empty() || free.has_earned_fresh())
    }

    fn take_of(&self, takes_fresh: impl FnOnce(&Free) -> bool) -> Option<Segment> {
        let ground = &self.0;
        let mut free = ground.free();
        let range = |number: u32| number as usize * SEGMENT_BYTES..(number as usize + 1) * SEGMENT_BYTES;
        let mut fresh = None;
        if !free.fresh.is_empty() && takes_fresh(&free) {
            // Also if there is no memory, since the kernel is not asked for each segment then.
            free.takes = 0;
            fresh = free.fresh.next().map(range).filter(|range| ground.populate(range));
            if fresh.is_none() {
                free.fresh = 0..0; // a kernel without memory is not asked again
            }
        }
        let is_fresh = fresh.is_some();
        let range = fresh.or_else(|| free.used.pop_front().map(range))?;
        free.takes = free.takes.saturating_add(1);
        let mut segment = Segment { hold: Hold { ground: Arc::clone(ground), range }, is_far: false };
        // Only a segment that a worker has read tells how far its CPU is.
        if !is_fresh {
            free.distance.probe(segment.bytes_mut());
        }
        segment.is_far = free.distance.is_far();
        Some(segment)
    }

    /// Takes a large segment of at least `bytes` bytes, which are arbitrary. `None` if there is no such room in one piece, or
    /// the kernel has no memory for it or (before Linux 5.14) cannot tell.
    ///
    /// A process that the host has forked does not have the memory and must not call this.
    pub fn take_large(&self, bytes: usize) -> Option<Segment> {
        let ground = &self.0;
        let (range, fresh) = ground.large().take(bytes)?;
        let hold = Hold { ground: Arc::clone(ground), range };
        // Not under the lock: the kernel may take many milliseconds for fresh memory.
        if !fresh.is_empty() && !ground.populate(&fresh) {
            ground.large().stop_at(fresh.start);
            return None;
        }
        Some(Segment { hold, is_far: false })
    }

    /// True if [`take_large`](Arena::take_large) would find room for so many bytes.
    pub fn has_large(&self, bytes: usize) -> bool {
        self.0.large().fits(bytes)
    }

    /// Bytes of the largest segment that there can be.
    pub fn large_bytes_max(&self) -> usize {
        self.0.large().capacity()
    }
}

impl Free {
    /// True if enough segments were taken for one more to take turns.
    fn has_earned_fresh(&self) -> bool {
        self.fresh.start < FIRST_SEGMENTS || self.takes >= TAKES_PER_FRESH
    }
}

impl Ground {
    fn populate(&self, range: &Range<usize>) -> bool {
        self.mapping.populate(self.at + range.start..self.at + range.end, Access::ReadWrite)
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn large(&self) -> MutexGuard<'_, Extents> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    fn bytes(&self) -> usize {
        self.range.len()
    }

    /// Address of `bytes` bytes from `at` on.
    ///
    /// # Panics
    /// If the segment has no such bytes.
    #[inline]
    fn place(&self, at: usize, bytes: usize) -> NonNull<u8> {
        assert!(at <= self.bytes() && bytes <= self.bytes() - at, "outside of the segment");
        self.ground.mapping.place(self.ground.at + self.range.start + at, bytes, 1)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Bytes that were streamed here and never finished must not arrive after those of the next owner.
        settle();
        if self.range.start < self.ground.small_bytes {
            #[expect(clippy::cast_possible_truncation, reason = "made of a u32")]
            let number = (self.range.start / SEGMENT_BYTES) as u32;
            self.ground.free().used.push_back(number);
        } else {
            self.ground.large().give_back(self.range.clone());
        }
    }
}

impl Segment {
    /// True if the readers' CPUs are so far away that [`stream`](Segment::stream) is faster than writing in place.
    pub fn is_far(&self) -> bool {
        self.is_far
    }

    /// All bytes of the segment, to be written in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let place = self.hold.place(0, self.hold.bytes());
        // SAFETY:
        // - in the mapping, which stays where it is, and was initialised (with zeros) when it was made;
        // - the segment has one owner, which is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), self.hold.bytes()) }
    }

    /// All bytes of the segment.
    pub fn bytes(&self) -> &[u8] {
        let place = self.hold.place(0, self.hold.bytes());
        // SAFETY:
        // - in the mapping, which stays where it is, and was initialised (with zeros) when it was made;
        // - only the owner writes there, and it is borrowed.
        unsafe { std::slice::from_raw_parts(place.as_ptr(), self.hold.bytes()) }
    }

    /// Writes past the caches of this CPU, which so need not take the cache lines over from their reader.
    ///
    /// # Panics
    /// If the segment has no `bytes.len()` bytes from `at` on.
    pub fn stream(&mut self, at: usize, bytes: &[u8]) {
        let place = self.bytes_mut().get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
        stream(place.expect("outside of the segment"), bytes);
    }

    /// Ends the writing.
    pub fn finish(self) -> Written {
        settle();
        Written(Arc::new(self.hold))
    }
}

impl Written {
    /// The location of these bytes, for [`ArenaWorker::bytes`] in a worker.
    ///
    /// # Panics
    /// If the segment has no such bytes.
    pub fn locate(&self, bytes: Range<usize>) -> [u8; LOCATION_BYTES] {
        assert!(bytes.start <= bytes.end && bytes.end <= self.0.bytes(), "outside of the segment");
        let start = self.0.range.start + bytes.start;
        (start as u64 | (bytes.len() as u64) << START_BITS).to_le_bytes()
    }

    /// A handle that tells whether the segment is still in use.
    pub fn in_use(&self) -> InUse {
        InUse(Arc::downgrade(&self.0))
    }
}

/// Bits of a location that hold the start; those above hold the length.
const START_BITS: u32 = 32;

impl Deref for Written {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let bytes = self.0.bytes();
        // SAFETY:
        // - in the mapping, which stays where it is, and initialised (with zeros) when it was made;
        // - nothing writes there as long as there is a `Written`.
        unsafe { std::slice::from_raw_parts(self.0.place(0, bytes).as_ptr(), bytes) }
    }
}

/// A worker's side.
#[derive(Debug)]
pub struct ArenaWorker {
    mapping: Arc<Mapping>,
    at: usize,
    bytes: usize,
}

impl ArenaWorker {
    /// The arena of `bytes` bytes from offset `at` of the mapping on.
    pub(crate) fn new(mapping: Arc<Mapping>, at: usize, bytes: usize) -> ArenaWorker {
        ArenaWorker { mapping, at, bytes }
    }

    /// The bytes at a location that the host has [sent](Written::locate); `None` if it lies outside the arena.
    ///
    /// # Safety
    /// The host must not write there while they are borrowed: it keeps the segment until it has seen the end of the reply.
    #[inline]
    pub unsafe fn bytes(&self, location: &[u8]) -> Option<&[u8]> {
        let word = u64::from_le_bytes(location.try_into().ok()?);
        let (start, length) = ((word & ((1 << START_BITS) - 1)) as usize, (word >> START_BITS) as usize);
        if start > self.bytes || length > self.bytes - start {
            return None;
        }
        let first = self.mapping.place(self.at + start, length, 1);
        // SAFETY:
        // - in the mapping, which stays where it is, and initialised (with zeros) when it was made;
        // - nothing writes there, by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(first.as_ptr(), length) })
    }

    /// Takes the arena's pages out of this process's resident memory. They stay where they are, and are mapped again when they
    /// are read.
    pub fn forget_pages(&self) {
        self.mapping.forget_pages();
    }
}
