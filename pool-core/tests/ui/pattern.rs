//! Arguments without a name to call them by.

use pool_core::pool_task;

struct Point {
    x: u64,
}

#[pool_task]
fn tuple((a, b): (u64, u64)) -> u64 {
    //~  ^^^^^^ give the argument a name and take it apart in the body
    a + b
}

#[pool_task]
fn structure(Point { x }: Point) -> u64 {
    //~      ^^^^^^^^^^^ give the argument a name and take it apart in the body
    x
}

fn main() {}
