//! An argument that the function would change for its caller.

use pool_core::pool_task;

#[pool_task]
fn push(values: &mut Vec<u64>) {
    //~         ^^^^^^^^^^^^^ take the argument by value and return it: a worker's copy cannot be changed from here
    values.push(1);
}

#[pool_task]
fn inside(values: Option<&mut [u64]>) -> bool {
    //~                  ^^^^^^^^^^ take the argument by value and return it
    values.is_some()
}

fn main() {}
