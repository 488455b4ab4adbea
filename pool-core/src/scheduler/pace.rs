//! How much of a job goes to a worker at once, from the measured time per item.

use super::tuning::{
    AHEAD_NS, BULK_AHEAD_NS, BULK_DEPTH_MIN, DEPTH_MAX, DEPTH_MIN, ITEM_MAX_NS, NARROW_WORKERS, NEW_MEMORY_NS,
    SHORT_CHUNK_NS, WAKE_WORTH_NS,
};
use crate::units::Nanos;

/// The time that an item of a task takes, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Moving average of nanoseconds per item; 0 is unknown.
    item: Nanos,
    /// The least of late: it follows a shorter time at once, and longer ones slowly.
    least: Nanos,
    /// The chunks that it was learnt from, up to `u16::MAX`.
    chunks: u16,
}

impl Pace {
    /// Averages in that `items` took `elapsed`.
    #[inline]
    pub(crate) fn learn(&mut self, items: u32, elapsed: Nanos) {
        // At least 1, since 0 stands for unknown; at most so much that the average below cannot overflow.
        let item = (elapsed / u64::from(items.max(1))).clamp(1, ITEM_MAX_NS);
        // A quarter of the new one: an outlier passes within a few chunks, and a change is followed as soon.
        self.item = if self.item == 0 { item } else { (3 * self.item + item) / 4 }.max(1);
        // An eighth more for each chunk, so that half a dozen longer ones double it.
        self.least = if self.chunks == 0 { item } else { item.min(self.least + self.least / 8 + 1) };
        // No more than that is ever asked for: pools have fewer workers.
        self.chunks = self.chunks.saturating_add(1);
    }

    /// Time that `items` will take, if anything is known.
    #[inline]
    pub(crate) fn time(self, items: u32) -> Option<Nanos> {
        (self.item > 0).then(|| self.item.saturating_mul(u64::from(items)))
    }

    /// Items that take so long, at least 1; 1 if their time is unknown.
    #[inline]
    pub(crate) fn items_in(self, time: Nanos) -> u32 {
        u32::try_from(time.checked_div(self.item).unwrap_or(1).max(1)).unwrap_or(u32::MAX)
    }

    /// Items of the next chunk, which should hold `chunk_ns` of work, of a job with `queued` items waiting for `workers`.
    ///
    /// A chunk is one item until the pace is known. Near the end chunks shrink with the rest of the queue (guided
    /// self-scheduling: Polychronopoulos and Kuck, 1987).
    #[inline]
    pub(crate) fn chunk(self, chunk_ns: Nanos, queued: u64, open: bool, workers: usize) -> u32 {
        if self.item == 0 {
            return 1;
        }
        let by_time = (chunk_ns / self.item).max(1);
        // More items may come to an open job, so the end of its queue is not its end. Half a share for each worker
        // leaves work for those that finish early.
        let share = if open { queued } else { queued.div_ceil(2 * workers as u64) };
        u32::try_from(by_time.min(share).max(1)).unwrap_or(u32::MAX)
    }

    /// Whether anything is known.
    #[inline]
    pub(crate) fn is_known(self) -> bool {
        self.item > 0
    }

    /// How many of the pool's `workers` it is worth waking for so many items, and at least `few` of them.
    #[inline]
    pub(crate) fn workers_worth(self, items: u64, workers: usize, few: usize) -> usize {
        // Asked first, since most pools are small and need no division.
        if workers <= NARROW_WORKERS {
            return workers;
        }
        // By the least time: a worker that lacked a CPU for a while says a thousand times as much, and waking more of them would leave
        // each with less.
        let worth = usize::try_from(self.least.saturating_mul(items) / WAKE_WORTH_NS).unwrap_or(usize::MAX);
        // The first items of a process may take a thousand times as long as later ones, since its memory is new.
        let is_doubtful = self.least < NEW_MEMORY_NS;
        let most = if is_doubtful { few + usize::from(self.chunks) } else { workers };
        worth.min(most).clamp(few, workers)
    }

    /// Chunks of `items` that a worker may hold.
    #[inline]
    pub(crate) fn depth(self, items: u32, is_bulk: bool) -> usize {
        let (ahead, least) = if is_bulk { (BULK_AHEAD_NS, BULK_DEPTH_MIN) } else { (AHEAD_NS, DEPTH_MIN) };
        match self.time(items) {
            // Items may take hours; more of them ahead of one worker would wait while others are idle.
            None => DEPTH_MIN,
            Some(time) => ((ahead / time.max(1)) as usize + 1).clamp(least, DEPTH_MAX),
        }
    }

    /// Whether a chunk of `items` is too short for a wake-up of its own.
    #[inline]
    pub(crate) fn is_short(self, items: u32) -> bool {
        self.time(items).is_some_and(|time| time < SHORT_CHUNK_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tuning::CHUNK_NS;
    use super::*;

    fn pace(item: Nanos) -> Pace {
        let mut pace = Pace::default();
        pace.learn(1, item);
        pace
    }

    #[test]
    fn a_million_additions_go_in_large_chunks_and_shrink_at_the_end() {
        assert_eq!(pace(2).chunk(CHUNK_NS, 1_000_000, false, 2), 100_000);
        assert_eq!(pace(2).chunk(CHUNK_NS, 40_000, false, 2), 10_000);
        assert_eq!(pace(2).chunk(CHUNK_NS, 1, false, 2), 1);
    }

    #[test]
    fn a_hundred_tasks_of_a_second_go_one_by_one() {
        assert_eq!(pace(1_000_000_000).chunk(CHUNK_NS, 100, false, 2), 1);
        assert_eq!(pace(1_000_000_000).depth(1, false), DEPTH_MIN);
    }

    #[test]
    fn absurd_times_are_survived() {
        let mut pace = pace(Nanos::MAX);
        pace.learn(1, Nanos::MAX);
        assert_eq!((pace.chunk(CHUNK_NS, 1_000_000, false, 2), pace.depth(u32::MAX, false)), (1, DEPTH_MIN));
        pace.learn(u32::MAX, 0);
        for _ in 0..200 {
            pace.learn(1, 100);
        }
        assert_eq!(pace.chunk(CHUNK_NS, 1_000_000, false, 2), 2000, "and forgotten");
    }

    #[test]
    fn items_of_unknown_time_go_one_by_one() {
        assert_eq!(Pace::default().chunk(CHUNK_NS, 1_000_000, false, 2), 1);
        assert_eq!(Pace::default().depth(1, true), DEPTH_MIN);
        assert!(!Pace::default().is_short(1));
    }
}
