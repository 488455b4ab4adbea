//! Numbers that an item reports one after the other: the way past all that a report in general needs.

#![allow(unsafe_code)]

use std::ptr;

use pool_ipc::{ItemMarks, Producer, ProgressWriter};

use crate::codec::number::NUMBER_BYTES_MAX;
use crate::lane::messages::ReportType;

/// The place for the next numbers of one type in the record under construction. Any other use of the ring ends it first.
#[derive(Debug)]
pub(super) struct NumberRun<'c> {
    of: ReportType,
    /// The place for the next one.
    next: *mut u8,
    /// Numbers for which there is room.
    left: usize,
    marks: Option<ItemMarks<'c>>,
}

impl<'c> NumberRun<'c> {
    /// Has room for no number.
    pub(super) const NONE: NumberRun<'c> =
        NumberRun { of: ReportType::UNENCODABLE, next: ptr::null_mut(), left: 0, marks: None };

    /// Has room for the numbers behind the first `bytes` bytes of the record, until it has `end` bytes or a few more.
    #[cold]
    pub(super) fn begin(
        of: ReportType,
        replies: &mut Producer,
        progress: &'c ProgressWriter,
        item: u32,
        bytes: usize,
        end: usize,
    ) -> Self {
        let Some(size) = of.size() else { return NumberRun::NONE };
        let (marks, most) = progress.end_marks(item, replies.unpublished_end(bytes), size as u32);
        let room = replies.known_spare();
        // As many bytes are written as the largest number has, and those of the last one must have room, too.
        let fitting = (room.len() + size).saturating_sub(bytes + NUMBER_BYTES_MAX) / size;
        let left = end.saturating_sub(bytes).div_ceil(size).min(fitting).min(most);
        let Some(place) = room.get_mut(bytes..) else { return NumberRun::NONE };
        NumberRun { of, next: place.as_mut_ptr(), left, marks: Some(marks) }
    }

    /// Whether there is room for a number of this type.
    #[inline]
    pub(super) fn takes(&self, of: ReportType) -> bool {
        self.of == of && self.left > 0
    }

    /// Writes a number behind the others, and lets the host find it. True if it was the last one for which there is room.
    ///
    /// # Safety
    /// There [is room](NumberRun::takes), and since [`begin`](NumberRun::begin) nobody has used the ring.
    #[inline]
    pub(super) unsafe fn push(&mut self, number: u128) -> bool {
        // SAFETY:
        // - `begin` has seen room for `left` numbers, each written with as many bytes as the largest has;
        // - the bytes are the producer's until it publishes them, and no reference to them is alive;
        // - the place need not be aligned.
        unsafe { self.next.cast::<[u8; NUMBER_BYTES_MAX]>().write_unaligned(number.to_le_bytes()) };
        // SAFETY: as above, the number ends within the room.
        self.next = unsafe { self.next.add(self.of.size().unwrap_or_default()) };
        self.left -= 1;
        if let Some(marks) = &mut self.marks {
            marks.begin_next();
        }
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use pool_ipc::{HostEnd, WorkerEnd};

    use super::*;

    #[test]
    fn a_run_ends_where_its_bytes_or_the_ring_do() {
        const SIZE: usize = 4;
        let (host, memory) = HostEnd::create(4096, 4096).unwrap();
        let WorkerEnd { mut replies, progress, .. } = WorkerEnd::open(&memory).unwrap();
        let of = ReportType::new(1 << 8, Some(SIZE));
        let room = replies.spare(usize::MAX / 2).len();
        for (bytes, end) in [(8, 8), (8, 9), (8, 12), (8, 100), (8, usize::MAX), (room - 9, usize::MAX)] {
            let mut run = NumberRun::begin(of, &mut replies, &progress, 3, bytes, end);
            let mut at = bytes;
            while run.takes(of) {
                // SAFETY: asked above, and nobody else uses the ring.
                let is_last = unsafe { run.push((at as u128) << 1) };
                at += SIZE;
                assert_eq!(is_last, !run.takes(of));
                let found = host.progress();
                assert_eq!((found.unpublished_end, found.item), (replies.unpublished_end(at), 3));
            }
            // As many as it can have, and not one more.
            assert!(at >= end || at + NUMBER_BYTES_MAX > room, "{bytes}..{end}: {at}");
            assert!(at == bytes || at - SIZE < end && at - SIZE + NUMBER_BYTES_MAX <= room, "{bytes}..{end}: {at}");
            let (written, _) = replies.known_spare()[bytes..at].as_chunks();
            let written = written.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize);
            assert!(written.eq((bytes..at).step_by(SIZE).map(|at| at << 1)));
        }
    }

    #[test]
    fn without_a_run_there_is_room_for_nothing() {
        assert!(!NumberRun::NONE.takes(ReportType::UNENCODABLE));
    }
}
