//! A test.

use pool_core::pool_task;

#[pool_task]
#[test]
//~ a test cannot be a task: write a function of its own and call it from the test
fn works() {}

fn main() {}
