//! A job as the scheduler knows it: its options, its counters, and the items about which there is more to know.

use std::collections::BTreeMap;
use std::ops;

use super::flow::Flow;
use super::interface::JobSpec;
use super::pace::Pace;
use super::tuning::{NARROW_FEED_NS, NARROW_MAX_NS, NARROW_NS};
use super::worker::Range;
use crate::units::Nanos;

#[derive(Debug)]
pub(super) struct JobEntry<P> {
    /// Taken when the job ended early; the entry then stays only until its chunks have come back.
    pub(super) record: Option<P>,
    pub(super) spec: JobSpec,
    /// Its own flow; calls without a limit on how many run at once are in the flow of all calls.
    pub(super) flow: Option<Box<Flow>>,
    /// It was cancelled together with its running items, so a worker that is at one of them is killed.
    pub(super) kills_running: bool,
    /// More items may come.
    pub(super) open: bool,
    /// The index behind the last item.
    pub(super) end: u64,
    /// Items accepted and neither delivered nor failed.
    pub(super) unsettled: u64,
    /// Unsettled items that will not run since all waiting items were cancelled. Their job ends early when the others
    /// are settled; for the pool they are not pending any more.
    pub(super) dropped: u64,
    /// Its input goes on, but all waiting items were cancelled, and the rest of the input with them.
    pub(super) is_cut_off: bool,
    /// Unsettled items in the queue.
    pub(super) queued: u64,
    /// When its first items came, if it does not wake all of the many workers at once.
    pub(super) begun_at: Option<Nanos>,
    /// When its latest items came.
    pub(super) fed_at: Nanos,
    /// Its next chunk may wake a worker in any case.
    pub(super) wakes_another: bool,
    /// Chunks with workers.
    pub(super) in_flight: u32,
    /// Unsettled items that have cost a worker, or panicked and may run again, and cancelled items.
    pub(super) records: BTreeMap<u64, ItemRecord>,
}

/// The history of an item to which something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ItemRecord {
    /// Attempts that it is blamed for: workers that died of it, and panics that allow a retry.
    pub(super) blamed_workers: u32,
    /// Workers that were killed since they did not begin it.
    pub(super) not_started: u32,
    /// It was cancelled while it waited or was with a worker: it is settled, and stays in its place until its turn comes or
    /// its worker has answered.
    pub(super) cancelled: bool,
    /// It waits in `Scheduler::retries`.
    pub(super) rests: bool,
}

/// The few workers that a map keeps to at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrow {
    /// It keeps to them until then. 0 if it uses all at once.
    until: Nanos,
    few: usize,
    /// The time of its items is known.
    is_known: bool,
}

impl Narrow {
    /// Workers that it may use now, whatever its known work is worth.
    #[inline]
    pub(super) fn workers(self, now: Nanos) -> usize {
        match now.checked_sub(self.until) {
            None => self.few,
            // Short items take longer than was expected, perhaps for want of a CPU: all at once would leave each with less.
            Some(late) if self.is_known && self.until > 0 => self.few << (1 + late / NARROW_NS).min(16),
            Some(_) => usize::MAX,
        }
    }

    /// When it may use more.
    #[inline]
    pub(super) fn next_step(self, now: Nanos) -> Nanos {
        match now.checked_sub(self.until) {
            None => self.until,
            Some(late) => now.saturating_add(NARROW_NS - late % NARROW_NS),
        }
    }
}

impl<P> JobEntry<P> {
    pub(super) fn new(spec: JobSpec, record: P) -> Self {
        JobEntry {
            record: Some(record),
            spec,
            // Boxed: a job of one call needs none, and its entry stays small.
            flow: (!spec.calls || spec.max_concurrent.is_some()).then(Box::default),
            kills_running: false,
            open: true,
            end: 0,
            unsettled: 0,
            dropped: 0,
            is_cut_off: false,
            queued: 0,
            begun_at: None,
            fed_at: 0,
            wakes_another: false,
            in_flight: 0,
            records: BTreeMap::new(),
        }
    }

    /// How few workers the job keeps to.
    #[inline]
    pub(super) fn narrow(&self, first_ready_at: Nanos, pace: Pace, few: usize) -> Narrow {
        let is_known = pace.is_known();
        let Some(begun_at) = self.begun_at else { return Narrow { until: 0, few, is_known } };
        let fed_at = self.fed_at.min(begun_at.saturating_add(NARROW_FEED_NS));
        // As long as few workers need for all of it, if that is not long.
        let items = u32::try_from(self.end).unwrap_or(u32::MAX);
        let time = (pace.time(items).unwrap_or(0) / few as Nanos).min(NARROW_MAX_NS);
        // In a fresh pool no item runs before the first worker is ready, so nothing is learnt until then.
        Narrow { until: fed_at.max(first_ready_at).saturating_add(NARROW_NS + time), few, is_known }
    }

    /// The number of the next attempt at the item, from 1.
    #[inline]
    pub(super) fn attempt_at(&self, item: u64) -> u32 {
        if self.records.is_empty() {
            return 1;
        }
        self.records.get(&item).map_or(0, |record| record.blamed_workers) + 1
    }

    pub(super) fn has_cancelled(&self, item: u64) -> bool {
        self.records.get(&item).is_some_and(|record| record.cancelled)
    }

    /// The last cancelled one of these items.
    #[inline]
    pub(super) fn last_cancelled(&self, items: ops::Range<u64>) -> Option<u64> {
        if self.records.is_empty() {
            return None;
        }
        // A map of 10 million items has records for few of them, so these are searched and not the items.
        self.records.range(items).rev().find(|(_, record)| record.cancelled).map(|(&item, _)| item)
    }

    /// The first cancelled one of these items. Maps have none.
    #[inline]
    pub(super) fn first_cancelled(&self, range: Range) -> Option<u64> {
        if self.records.is_empty() || !self.spec.calls {
            return None;
        }
        self.records.range(range.first..range.end()).find(|(_, record)| record.cancelled).map(|(&item, _)| item)
    }

    /// The cancelled ones of these items.
    pub(super) fn count_cancelled(&self, range: Range) -> u64 {
        if self.records.is_empty() {
            return 0;
        }
        self.records.range(range.first..range.end()).filter(|(_, record)| record.cancelled).count() as u64
    }

    /// Drops the history of items that are settled now; returns how many of them had been settled before, since they were
    /// cancelled.
    #[inline]
    pub(super) fn forget(&mut self, first: u64, items: u32) -> u64 {
        if self.records.is_empty() {
            return 0;
        }
        // Almost always none has a history, so the check above spares the tree.
        let records = self.records.extract_if(first..first + u64::from(items), |_, _| true);
        records.filter(|(_, record)| record.cancelled).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_short_items_that_takes_longer_uses_ever_more_workers() {
        let narrow = Narrow { until: 3_000_000, few: 4, is_known: true };
        let (mut now, mut steps) = (0, Vec::new());
        while narrow.workers(now) < 64 {
            steps.push((now, narrow.workers(now)));
            now = narrow.next_step(now);
        }
        assert_eq!(steps, [(0, 4), (3_000_000, 8), (4_000_000, 16), (5_000_000, 32)]);
        assert_eq!(narrow.next_step(3_400_000), 4_000_000);
    }

    #[test]
    fn a_map_of_unknown_items_uses_all_after_a_while() {
        let narrow = Narrow { until: 1_000_000, few: 4, is_known: false };
        assert_eq!((narrow.workers(999_999), narrow.workers(1_000_000)), (4, usize::MAX));
    }
}
