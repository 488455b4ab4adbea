//! Blocks, found and settled in any order.

use std::collections::BTreeMap;

use super::*;

/// Numbers without pattern, the same at every run: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound as u64) as usize
    }
}

/// Blocks of items of one byte, which is the item's number, and how many items of each are not settled, by its first.
fn filled(blocks: usize, random: &mut Random) -> (Blocks, BTreeMap<u64, u32>) {
    let (mut made, mut left, mut first) = (Blocks::default(), BTreeMap::new(), 0);
    for _ in 0..blocks {
        let items = 1 + random.below(3) as u32;
        let bytes = (first..first + u64::from(items)).map(|item| item as u8).collect();
        made.push(Block::new(first, items, Some(1), Content::Own(bytes)), &mut Vec::new());
        left.insert(first, items);
        first += u64::from(items);
    }
    (made, left)
}

/// Each block that is not through is found by each of its items, and no other is.
fn check(blocks: &mut Blocks, left: &BTreeMap<u64, u32>, items: u64) {
    let block_of = |item: u64| left.range(..=item).next_back().filter(|(_, left)| **left > 0);
    for item in 0..items {
        let found = blocks.position(item).map(|at| &blocks.queue[at]).filter(|block| block.left > 0);
        assert_eq!(found.map(|block| (&block.first, &block.left)), block_of(item), "item {item}");
        if found.is_some() {
            let args = blocks.args(item, 1).expect("it was found above");
            assert_eq!(args.bytes(), [item as u8]);
        }
    }
    let through = blocks.queue.iter().filter(|block| block.left == 0).count();
    assert_eq!(through, blocks.empty);
    assert!(through <= blocks.queue.len() / 2, "{through} of {} blocks are empty", blocks.queue.len());
    assert!(blocks.queue.iter().all(|block| block.left > 0 || block.bytes.is_empty()), "empty blocks have no memory");
    assert!(blocks.queue.front().is_none_or(|block| block.left > 0));
    assert!(blocks.queue.back().is_none_or(|block| block.left > 0));
}

#[test]
fn blocks_are_found_in_whatever_order_they_are_settled() {
    let mut random = Random(7);
    for count in [1, 2, 3, 10, 100, 1000] {
        // From the front, from the back, from the middle, anyhow.
        for order in 0..4 {
            let (mut blocks, mut left) = filled(count, &mut random);
            let items = left.iter().next_back().map_or(0, |(first, items)| first + u64::from(*items));
            let mut unsettled: Vec<u64> = left.keys().copied().collect();
            while !unsettled.is_empty() {
                let at = match order {
                    0 => 0,
                    1 => unsettled.len() - 1,
                    2 => unsettled.len() / 2,
                    _ => random.below(unsettled.len()),
                };
                let first = unsettled[at];
                blocks.settled(first, 1);
                let count_left = left.get_mut(&first).expect("it is one of them");
                *count_left -= 1;
                if *count_left == 0 {
                    unsettled.remove(at);
                }
                if unsettled.len().is_multiple_of(64) || unsettled.len() < 5 {
                    check(&mut blocks, &left, items);
                }
            }
            assert!(blocks.queue.is_empty() && blocks.empty == 0);
        }
    }
}

#[test]
fn items_settled_twice_count_once() {
    let (mut blocks, _) = filled(200, &mut Random(3));
    let first = blocks.queue[100].first;
    for _ in 0..5 {
        blocks.settled(first, 3);
    }
    assert_eq!(blocks.empty, 1);
    assert_eq!(blocks.queue.len(), 200);
}
