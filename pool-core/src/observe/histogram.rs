//! Times in buckets of a width that grows with the time, as in HdrHistogram: eight buckets for each doubling.

use crate::units::Nanos;

/// A quantile is at most an eighth above the true one.
const BUCKETS_PER_DOUBLING_LOG: u32 = 3;

/// Doublings with buckets of their own: up to 2^42 ns, which is more than an hour.
const DOUBLINGS: usize = 40;

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: [u64; DOUBLINGS << BUCKETS_PER_DOUBLING_LOG],
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: [0; DOUBLINGS << BUCKETS_PER_DOUBLING_LOG], total: 0 }
    }
}

impl Histogram {
    #[inline]
    pub(super) fn add(&mut self, time: Nanos, items: u32) {
        // A time of hours counts as one hour: no percentile of interest is that long.
        let bucket = bucket(time).min(self.counts.len() - 1);
        self.counts[bucket] += u64::from(items);
        self.total += u64::from(items);
    }

    /// The time that so many thousandths of the items did not exceed, rounded up to the end of a bucket; `None` if there are no
    /// items.
    pub(super) fn quantile(&self, thousandths: u64) -> Option<Nanos> {
        // At least one, or the quantile of few items would be the empty first bucket.
        let wanted = (self.total * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(end(bucket))
    }
}

/// The first times have a bucket each; from there on the highest bits of a time are its bucket.
#[inline]
fn bucket(time: Nanos) -> usize {
    // Times below the first doubling are as if they had its highest bit, so that they get a bucket each.
    let shift = (time | 1 << BUCKETS_PER_DOUBLING_LOG).ilog2() - BUCKETS_PER_DOUBLING_LOG;
    ((shift as usize) << BUCKETS_PER_DOUBLING_LOG) + (time >> shift) as usize
}

/// The longest time of a bucket.
fn end(bucket: usize) -> Nanos {
    let shift = (bucket >> BUCKETS_PER_DOUBLING_LOG).saturating_sub(1);
    let top = bucket - (shift << BUCKETS_PER_DOUBLING_LOG);
    ((top as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gaps() {
        let mut before = 0;
        for time in (0..100_000).chain((17..60).map(|bits| 1 << bits)) {
            let here = bucket(time);
            assert!(here <= before + 1 || time >= 100_000, "{time}");
            assert!(end(here) >= time && end(here) - time <= time / 8, "{time} in a bucket that ends at {}", end(here));
            before = here;
        }
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_too_long() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(500), None);
        (1..=1000).for_each(|us| times.add(us * 1000, 1));
        for (thousandths, exact) in [(500, 500_000), (990, 990_000), (1000, 1_000_000)] {
            let found = times.quantile(thousandths).unwrap();
            assert!((exact..=exact + exact / 8).contains(&found), "{thousandths}: {found}");
        }
        times.add(Nanos::MAX, 1_000_000);
        assert!(times.quantile(500).unwrap() > 1 << 41, "absurd times are in the last bucket");
    }
}
