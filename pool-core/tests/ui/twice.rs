//! The attribute, two times.

use pool_core::pool_task;

#[pool_task]
#[pool_task]
//~ `#[pool_task]` is given twice
fn square(x: u64) -> u64 {
    x * x
}

fn main() {}
