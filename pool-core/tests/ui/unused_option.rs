//! An option that is set on a task that nobody takes.

#![deny(unused_must_use)]

use pool_core::{Task, pool_task};

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    square::Task.retries(1);
    //~ it is this task that has the options: pass it to the pool
    let mut task = square::Task.retries(1);
    task.chunk_size(3);
    //~ it is this task that has the options: pass it to the pool
    task = task.chunk_size(4);
    println!("{task:?}");
}
