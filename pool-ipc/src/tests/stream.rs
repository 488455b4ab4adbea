//! Copies by way of the caches and past them come to the same.

use super::super::stream::{Distance, settle, stream};
use super::pattern;

#[test]
fn copies_of_any_length_and_alignment_are_whole() {
    let from = pattern(3, 300);
    for (start, length) in (0..20).flat_map(|start| (0..100).map(move |length| (start, length))) {
        let mut to = vec![0xee; 300];
        stream(&mut to[start..start + length], &from[7..7 + length]);
        settle();
        assert_eq!(to[start..start + length], from[7..7 + length]);
        let around = to[..start].iter().chain(&to[start + length..]);
        assert!(around.copied().all(|byte| byte == 0xee), "{length} bytes at {start}");
    }
}

#[test]
fn a_far_reader_is_measured_again() {
    let from = pattern(4, 64 << 10);
    let mut distance = Distance::far();
    let mut to = vec![0; from.len()];
    // Here it is near. A copy may take long by chance, on a busy machine, but not all of them.
    for round in 0..100_000 {
        to.fill(round as u8);
        distance.copy(&mut to, &from, false);
        assert!(to == from);
        if !distance.is_far() {
            return;
        }
    }
    panic!("it stays far");
}
