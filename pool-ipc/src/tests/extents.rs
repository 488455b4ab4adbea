//! The division of a range among pieces of any size.

use std::ops::Range;

use super::super::extents::Extents;
use super::Random;

const UNIT: usize = 4096;

#[test]
fn pieces_never_overlap_and_all_room_comes_back() {
    const UNITS: usize = 64;
    let base = 7 * UNIT;
    let mut extents = Extents::new(base..base + UNITS * UNIT);
    let (mut random, mut taken): (_, Vec<Range<usize>>) = (Random::new(3), Vec::new());
    let mut fresh_bytes = 0;
    for _ in 0..10_000 {
        if random.below(2) == 0 {
            let bytes = 1 + random.below(8 * UNIT as u64) as usize;
            let fits = extents.fits(bytes);
            let found = extents.take(bytes);
            assert_eq!(fits, found.is_some());
            let Some((piece, fresh)) = found else { continue };
            assert!(piece.len() >= bytes && piece.start >= base && piece.end <= base + UNITS * UNIT);
            assert!(taken.iter().all(|other| other.end <= piece.start || piece.end <= other.start), "{piece:?}");
            assert!(fresh.is_empty() || piece.start <= fresh.start && fresh.end == piece.end);
            fresh_bytes += fresh.len();
            taken.push(piece);
        } else if !taken.is_empty() {
            extents.give_back(taken.swap_remove(random.below(taken.len() as u64) as usize));
        }
    }
    assert!(fresh_bytes <= UNITS * UNIT, "memory is taken once");
    taken.drain(..).for_each(|piece| extents.give_back(piece));
    assert_eq!(extents.take(UNITS * UNIT).map(|(piece, _)| piece), Some(base..base + UNITS * UNIT));
    assert!(extents.take(1).is_none() && !extents.fits(1));
}

#[test]
fn impossible_sizes_find_no_piece() {
    let mut extents = Extents::new(0..10 * UNIT);
    for bytes in [0, 10 * UNIT + 1, usize::MAX] {
        assert!(!extents.fits(bytes) && extents.take(bytes).is_none(), "{bytes}");
    }
    assert!(!Extents::new(0..0).fits(1));
}

#[test]
fn a_range_that_is_cut_off_gives_nothing_beyond() {
    let mut extents = Extents::new(0..10 * UNIT);
    let (first, _) = extents.take(4 * UNIT).unwrap();
    let (second, fresh) = extents.take(4 * UNIT).unwrap();
    assert_eq!(fresh, second);
    // There is no memory for the second.
    extents.stop_at(fresh.start);
    extents.give_back(second);
    assert!(extents.take(1).is_none());
    extents.give_back(first.clone());
    assert_eq!(extents.take(4 * UNIT), Some((first, 4 * UNIT..4 * UNIT)));
}
