//! The counters of one task.

use super::histogram::Histogram;
use crate::error::ErrorKind;
use crate::scheduler::EndedChunk;
use crate::units::Nanos;

#[derive(Clone, Debug, Default)]
pub(super) struct TaskRecord {
    /// Items that were answered, in chunks that have ended, and items that have cost their worker.
    pub(super) items: u64,
    /// Of these, the ones that have panicked and are tried again.
    pub(super) answered_retries: u64,
    /// Values that were `Err`.
    pub(super) errs: u64,
    pub(super) failures: [u64; ErrorKind::COUNT],
    pub(super) retries: u64,
    pub(super) time_outs: u64,
    /// Of an item of a longer chunk, the mean of the chunk.
    pub(super) times: Histogram,
    /// Items with such a mean for their time.
    pub(super) averaged: u64,
    /// The latest two of these times.
    pub(super) last: [Nanos; 2],
    /// The longest times, the longest first.
    pub(super) slowest: [Slow; SLOWEST],
}

/// Long times that are remembered with their items.
const SLOWEST: usize = 5;

/// A long time, or the mean of a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slow {
    pub(super) time: Nanos,
    /// The index of the first item; `None` for calls.
    pub(super) first: Option<u64>,
    /// Number of items of which it is the mean; 0 in a place that has not been used.
    pub(super) items: u32,
    pub(super) label: Option<&'static str>,
}

impl TaskRecord {
    #[inline]
    pub(super) fn chunk_ended(&mut self, chunk: EndedChunk, elapsed: Nanos, errs: u32) {
        let EndedChunk { items, .. } = chunk;
        self.items += u64::from(items);
        // The worker's own word: a task may have overwritten it.
        self.errs += u64::from(errs.min(items));
        let time = match items {
            // Taken back whole.
            0 => return,
            // Spares the division, which is the longest step of a call.
            1 => elapsed,
            _ => {
                self.averaged += u64::from(items);
                elapsed / u64::from(items)
            }
        };
        // The first time stands for the one before it, too, so that the shorter of both is known from the second chunk on.
        self.last = if self.last == [0; 2] { [time; 2] } else { [time, self.last[0]] };
        self.times.add(time, items);
        // Rarely true after a while, so the search for its place is kept out of the way.
        if time > self.slowest[SLOWEST - 1].time {
            let first = (!chunk.is_calls).then_some(chunk.first);
            self.remember(Slow { time, first, items, label: chunk.label });
        }
    }

    /// An item has cost its worker after `ran`, if that is known.
    pub(super) fn lost(&mut self, item: Option<u64>, ran: Option<Nanos>, label: Option<&'static str>) {
        self.items += 1;
        let Some(time) = ran else { return };
        // A time limit that strikes is the very time that people look for, though no value came of it.
        self.times.add(time, 1);
        self.remember(Slow { time, first: item, items: 1, label });
    }

    #[cold]
    fn remember(&mut self, slow: Slow) {
        let Some(at) = self.slowest.iter().position(|other| other.time < slow.time) else { return };
        self.slowest[at..].rotate_right(1);
        self.slowest[at] = slow;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_slowest_are_remembered_in_order() {
        let mut record = TaskRecord::default();
        for (item, time) in [30, 10, 50, 20, 60, 40, 5].into_iter().enumerate() {
            let chunk = EndedChunk { first: item as u64, items: 1, ..EndedChunk::default() };
            record.chunk_ended(chunk, time, 0);
        }
        assert_eq!(record.slowest.map(|slow| slow.time), [60, 50, 40, 30, 20]);
        assert_eq!(record.slowest.map(|slow| slow.first), [4, 2, 5, 0, 3].map(Some));
        assert_eq!((record.items, record.averaged), (7, 0));
    }

    #[test]
    fn a_chunk_counts_by_its_mean() {
        let mut record = TaskRecord::default();
        let chunk = EndedChunk { first: 100, items: 10, is_calls: true, label: Some("x"), ..EndedChunk::default() };
        record.chunk_ended(chunk, 1000, 99);
        assert_eq!(
            (record.items, record.averaged, record.errs),
            (10, 10, 10),
            "a worker cannot count more than there are"
        );
        let Slow { time, first, items, label } = record.slowest[0];
        assert_eq!((time, first, items, label), (100, None, 10, Some("x")));
        record.chunk_ended(EndedChunk { items: 0, ..chunk }, 1_000_000, 0);
        assert_eq!(record.slowest[0].time, 100, "a chunk that was taken back");
    }
}
