//! Seeds for tasks that draw random numbers: of a submission, and of each of its items.
//!
//! Part of the interface: the same seed and version of this crate give the same numbers on every machine.

/// The finalizer of SplitMix64 (Steele, Lea, Flood), a bijection in which each bit of the input changes half of the output.
pub(crate) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The odd number nearest to 2^64 divided by the golden ratio: its multiples lie far apart.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The seed number `number` that follows from `seed`. Used twice: from the seed of a pool or task to that of its submission
/// `number`, and from there to that of the item `number`.
pub(crate) const fn derive(seed: u64, number: u64) -> u64 {
    // Mixed twice: with neighbours as seeds, a sum alone would give shifted copies of one sequence.
    mix(mix(seed).wrapping_add(number.wrapping_add(1).wrapping_mul(STEP)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn seeds_are_those_of_earlier_builds() {
        // The first is the first number of SplitMix64 with the seed 0.
        assert_eq!((derive(0, 0), derive(7, 3)), (0xe220_a839_7b1d_cdaf, 16_292_704_262_132_694_875));
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let mut seen = BTreeSet::new();
        for seed in 0..30 {
            for submission in 0..30 {
                let of_submission = derive(seed, submission);
                seen.extend((0..30).map(|item| derive(of_submission, item)));
            }
        }
        assert_eq!(seen.len(), 30 * 30 * 30);
        // A bit that differs in the input changes about half of the output.
        let changed: u32 = (0..64).map(|bit| (derive(1 << bit, 5) ^ derive(0, 5)).count_ones()).sum();
        assert!((28 * 64..36 * 64).contains(&changed), "{changed}");
    }
}
