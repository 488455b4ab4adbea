//! Memory that the host writes once and all workers read in place, for bytes to which a request only points (zero-copy).
//!
//! It is part of the hub's memory, cut into *segments*. The owner of a [`Segment`] writes it, sends the location of the bytes
//! ([`Written::locate`]), and keeps it until the reply: the rings order these accesses. Workers can only read the memory.
//!
//! The segment that has been free for longest is used next, since bytes that lie in another CPU's second-level cache are slow
//! to overwrite. The rings of a lane are large for the same reason.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::region::{Access, Mapping};
use super::stream::{Distance, settle, stream};

/// Size of a segment. Each costs some work of its own: a map of numbers is 7 % faster than with 32 KiB, and no faster with 128
/// KiB.
pub const SEGMENT_BYTES: usize = 64 << 10;

/// Size of an encoded location (offset and length).
pub const LOCATION_BYTES: usize = 8;

/// The host's side.
#[derive(Debug)]
pub struct Arena(Arc<Ground>);

#[derive(Debug)]
struct Ground {
    mapping: Arc<Mapping>,
    /// Offset of the first segment in the mapping.
    at: usize,
    free: Mutex<Free>,
}

/// The segments without an owner.
#[derive(Debug)]
struct Free {
    /// Segments that have memory, in the order in which they became free.
    used: VecDeque<u32>,
    /// Segments that have none yet.
    fresh: Range<u32>,
    /// How far the workers' CPUs are from here.
    distance: Distance,
}

/// Ownership of a segment, which is free again when this is dropped.
#[derive(Debug)]
struct Hold {
    ground: Arc<Ground>,
    number: u32,
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

impl Arena {
    /// An arena of `segments` segments from offset `at` of the mapping on.
    pub(crate) fn new(mapping: Arc<Mapping>, at: usize, segments: u32) -> Arena {
        let free = Free { used: VecDeque::new(), fresh: 0..segments, distance: Distance::default() };
        let free = Mutex::new(free);
        Arena(Arc::new(Ground { mapping, at, free }))
    }

    /// Takes a segment, whose bytes are arbitrary. `None` if all are taken, or if the kernel has no memory for another one or
    /// (before Linux 5.14) cannot tell.
    ///
    /// A process that the host has forked does not have the memory and must not call this.
    pub fn take(&self) -> Option<Segment> {
        let ground = &self.0;
        let mut free = ground.free();
        let fresh = free.fresh.next().filter(|&number| ground.populate(number));
        if fresh.is_none() {
            free.fresh = 0..0; // a kernel without memory is not asked again
        }
        let number = fresh.or_else(|| free.used.pop_front())?;
        let mut segment = Segment { hold: Hold { ground: Arc::clone(ground), number }, is_far: false };
        if fresh.is_none() {
            free.distance.probe(segment.bytes_mut());
        }
        segment.is_far = free.distance.is_far();
        Some(segment)
    }
}

impl Ground {
    /// Offset of the segment in the mapping.
    fn start(&self, number: u32) -> usize {
        self.at + number as usize * SEGMENT_BYTES
    }

    fn populate(&self, number: u32) -> bool {
        let start = self.start(number);
        self.mapping.populate(start..start + SEGMENT_BYTES, Access::ReadWrite)
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Address of `bytes` bytes from `at` on.
    ///
    /// # Panics
    /// If the segment has no such bytes.
    #[inline]
    fn place(&self, at: usize, bytes: usize) -> NonNull<u8> {
        assert!(at <= SEGMENT_BYTES && bytes <= SEGMENT_BYTES - at, "outside of the segment");
        self.ground.mapping.place(self.ground.start(self.number) + at, bytes, 1)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Bytes that were streamed here and never finished must not arrive after those of the next owner.
        settle();
        self.ground.free().used.push_back(self.number);
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
        let place = self.hold.place(0, SEGMENT_BYTES);
        // SAFETY:
        // - in the mapping, which stays where it is, and was initialised (with zeros) when it was made;
        // - the segment has one owner, which is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), SEGMENT_BYTES) }
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
        assert!(bytes.start <= bytes.end && bytes.end <= SEGMENT_BYTES, "outside of the segment");
        let start = self.0.number as usize * SEGMENT_BYTES + bytes.start;
        (start as u64 | (bytes.len() as u64) << START_BITS).to_le_bytes()
    }
}

/// Bits of a location that hold the start; those above hold the length.
const START_BITS: u32 = 32;

impl Deref for Written {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY:
        // - in the mapping, which stays where it is, and initialised (with zeros) when it was made;
        // - nothing writes there as long as there is a `Written`.
        unsafe { std::slice::from_raw_parts(self.0.place(0, SEGMENT_BYTES).as_ptr(), SEGMENT_BYTES) }
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
}
