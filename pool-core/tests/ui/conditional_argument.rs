//! An argument that is not always there.

use pool_core::pool_task;

#[pool_task]
fn sometimes(x: u64, #[cfg(unix)] y: u64) -> u64 {
    //~              ^^^^^^^^^^^^ a task's arguments cannot depend on a `cfg`: put it on the function
    x + y
}

fn main() {}
