//! Copies in pieces are whole, however source and destination lie to each other.

use super::super::copy::{append, copy};
use super::pattern;

const LENGTHS: [usize; 9] = [0, 1, 1023, 2047, 2048, 2049, 3000, 4096, 40_000];

#[test]
fn copies_are_right_at_every_distance() {
    let mut memory = vec![0; 50_000];
    let from = pattern(5, 40_000);
    for (start, length) in (0..80).map(|at| at * 53).flat_map(|start| LENGTHS.map(|length| (start, length))) {
        memory.fill(0xee);
        copy(&mut memory[start..start + length], &from[..length]);
        assert_eq!(memory[start..start + length], from[..length]);
        let around = memory[..start].iter().chain(&memory[start + length..]);
        assert!(around.copied().all(|byte| byte == 0xee), "{length} bytes at {start}");

        let mut vector = Vec::with_capacity(50_000);
        vector.resize(start, 1);
        append(&mut vector, &from[..length]);
        assert_eq!(vector[start..], from[..length]);
    }
}

#[test]
#[should_panic = "assertion `left == right` failed"]
fn lengths_that_differ_panic() {
    copy(&mut [0; 5000], &[0; 4999]);
}
