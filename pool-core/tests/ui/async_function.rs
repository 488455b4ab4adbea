//! A function that waits for others.

use pool_core::pool_task;

#[pool_task]
async fn fetch(x: u64) -> u64 {
    //~ a worker runs plain functions: block on the future inside of a plain `fn`
    x
}

fn main() {}
