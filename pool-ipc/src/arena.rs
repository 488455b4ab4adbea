//! Memory that the host writes once and every worker reads in place: for bytes that a call only points to.
//!
//! It is part of the hub's memory, cut into *segments*. Whoever has a [`Segment`] writes it, sends where the bytes are
//! ([`Written::locate`]), and keeps it until the answer: the order of the two is that of the rings. Workers have the memory
//! read-only.
//!
//! Segments come round in turn, the one that has been free for longest first: what lies in another CPU's second cache is
//! dear to write (see the lane's rings, which are large for the same reason).

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::region::{Access, Mapping};
use super::stream::{Distance, settle, stream};

/// Bytes of a segment. What is done once for each makes a map of numbers 7 % faster than segments of 32 KiB do; those of 128
/// KiB bring no more.
pub const SEGMENT_BYTES: usize = 64 << 10;

/// Bytes that say where bytes are.
pub const LOCATION_BYTES: usize = 8;

/// The host's side.
#[derive(Debug)]
pub struct Arena(Arc<Ground>);

#[derive(Debug)]
struct Ground {
    mapping: Arc<Mapping>,
    /// Where the first segment begins.
    at: usize,
    free: Mutex<Free>,
}

/// The segments that nobody has.
#[derive(Debug)]
struct Free {
    /// Those that have memory, in the order in which they became free.
    used: VecDeque<u32>,
    /// The others.
    fresh: Range<u32>,
    /// From those who read them.
    distance: Distance,
}

/// A segment that somebody has. Dropped, it is free again.
#[derive(Debug)]
struct Hold {
    ground: Arc<Ground>,
    number: u32,
}

/// A part of the arena, to be written.
#[derive(Debug)]
pub struct Segment {
    hold: Hold,
    is_far: bool,
}

/// A part of the arena that has been written, to be read in place. It is free again when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Written(Arc<Hold>);

impl Arena {
    /// Of so many segments, from `at` on in the mapping.
    pub(crate) fn new(mapping: Arc<Mapping>, at: usize, segments: u32) -> Arena {
        let free = Free { used: VecDeque::new(), fresh: 0..segments, distance: Distance::default() };
        let free = Mutex::new(free);
        Arena(Arc::new(Ground { mapping, at, free }))
    }

    /// Takes a segment, whose bytes may be any. `None` if all are taken, or the kernel has no memory for another one, or
    /// (before Linux 5.14) could not say so.
    ///
    /// Not for a process that the host has forked, which does not have the memory.
    pub fn take(&self) -> Option<Segment> {
        let ground = &self.0;
        let mut free = ground.free();
        let fresh = free.fresh.next().filter(|&number| ground.populate(number));
        if fresh.is_none() {
            free.fresh = 0..0; // the kernel is not asked again
        }
        let number = fresh.or_else(|| free.used.pop_front())?;
        let mut segment = Segment { hold: Hold { ground: Arc::clone(ground), number }, is_far: false };
        if fresh.is_none() {
            free.distance.look(segment.bytes_mut());
        }
        segment.is_far = free.distance.is_far();
        Some(segment)
    }
}

impl Ground {
    /// Where the segment begins in the mapping.
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
    /// Where these bytes of it are.
    ///
    /// # Panics
    /// If it has no such bytes.
    #[inline]
    fn place(&self, at: usize, bytes: usize) -> NonNull<u8> {
        assert!(at <= SEGMENT_BYTES && bytes <= SEGMENT_BYTES - at, "outside of the segment");
        self.ground.mapping.place(self.ground.start(self.number) + at, bytes, 1)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What was streamed there and never finished must not come after what the next one writes.
        settle();
        self.ground.free().used.push_back(self.number);
    }
}

impl Segment {
    /// Whether its readers have been so far from here that [`stream`](Segment::stream) takes less time than writing in place.
    pub fn is_far(&self) -> bool {
        self.is_far
    }

    /// All of it, to be written in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let place = self.hold.place(0, SEGMENT_BYTES);
        // SAFETY:
        // - in the mapping, which stays where it is, and was initialised (with zeros) when it was made;
        // - nobody else has the segment, which is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), SEGMENT_BYTES) }
    }

    /// Writes past the caches of this CPU, which does not need the bytes again, so it need not own their lines.
    ///
    /// # Panics
    /// If the segment has no `bytes.len()` bytes from `at` on.
    pub fn stream(&mut self, at: usize, bytes: &[u8]) {
        let place = self.bytes_mut().get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
        stream(place.expect("outside of the segment"), bytes);
    }

    /// It has been written.
    pub fn finish(self) -> Written {
        settle();
        Written(Arc::new(self.hold))
    }
}

impl Written {
    /// What to send, so that a worker finds these bytes of it: see [`ArenaWorker::bytes`].
    ///
    /// # Panics
    /// If it has no such bytes.
    pub fn locate(&self, bytes: Range<usize>) -> [u8; LOCATION_BYTES] {
        assert!(bytes.start <= bytes.end && bytes.end <= SEGMENT_BYTES, "outside of the segment");
        let start = self.0.number as usize * SEGMENT_BYTES + bytes.start;
        (start as u64 | (bytes.len() as u64) << START_BITS).to_le_bytes()
    }
}

/// Bits of a location that say where it starts; those above are the length.
const START_BITS: u32 = 32;

impl Deref for Written {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY:
        // - in the mapping, which stays where it is, and initialised (with zeros) when it was made;
        // - nobody writes there as long as there is a `Written`.
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
    /// The arena of so many bytes from `at` on in the mapping.
    pub(crate) fn new(mapping: Arc<Mapping>, at: usize, bytes: usize) -> ArenaWorker {
        ArenaWorker { mapping, at, bytes }
    }

    /// The bytes at a location that the host has [sent](Written::locate); `None` if it is none.
    ///
    /// # Safety
    /// The host must not write there as long as they are borrowed: it keeps the segment until it is told that the call is
    /// answered.
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
        // - nobody writes there, by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(first.as_ptr(), length) })
    }
}
