//! Functions with duties on the caller, or another calling convention.

use pool_core::pool_task;

#[pool_task]
unsafe fn danger(x: u64) -> u64 {
    //~ an `unsafe` function cannot be a task: wrap it in a safe function
    x
}

#[pool_task]
extern "C" fn foreign(x: u64) -> u64 {
    //~ an `extern` function cannot be a task: wrap it in a safe function
    x
}

fn main() {}
