//! Tasks that this program does not name: others may call them, by the table.

#![deny(warnings)]

use pool_core::pool_task;

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {}
