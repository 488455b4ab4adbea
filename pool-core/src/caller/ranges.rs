//! A set of item numbers that fill up from below, mostly in order.

use std::ops::Range;

/// Item numbers as ranges.
///
/// # Invariants
/// * The ranges are in order, and neither overlap nor touch.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds items of which none is in the set.
    pub(crate) fn add(&mut self, items: Range<u64>) {
        // Mostly one or two ranges, so this is a look at the last one.
        let at = self.0.partition_point(|range| range.start < items.start);
        // Neighbours are joined, so that a set without gaps stays one range however many items it has.
        let joins_next = self.0.get(at).is_some_and(|next| next.start == items.end);
        match at.checked_sub(1).map(|before| &mut self.0[before]) {
            Some(before) if before.end == items.start => {
                before.end = items.end;
                if joins_next {
                    let next = self.0.remove(at);
                    self.0[at - 1].end = next.end;
                }
            }
            _ if joins_next => self.0[at].start = items.start,
            _ => self.0.insert(at, items),
        }
    }

    /// The items below `end` that are not in the set, in order.
    pub(crate) fn missing(&self, end: u64) -> impl Iterator<Item = u64> {
        let ends = self.0.iter().map(|range| range.start).chain([end]);
        let starts = [0].into_iter().chain(self.0.iter().map(|range| range.end));
        starts.zip(ends).flat_map(|(start, end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_whatever_order_they_come() {
        for order in [[0..2, 2..5, 5..6], [5..6, 2..5, 0..2], [0..2, 5..6, 2..5]] {
            let mut ranges = Ranges::default();
            order.into_iter().for_each(|items| ranges.add(items));
            assert_eq!(ranges.0, vec![0..6], "one range is left");
            assert_eq!(ranges.missing(8).collect::<Vec<_>>(), [6, 7]);
        }
    }

    #[test]
    fn the_missing_are_those_between() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.missing(2).collect::<Vec<_>>(), [0, 1]);
        [7..9, 1..3].into_iter().for_each(|items| ranges.add(items));
        assert_eq!(ranges.missing(10).collect::<Vec<_>>(), [0, 3, 4, 5, 6, 9]);
    }
}
