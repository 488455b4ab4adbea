//! The program itself.

use pool_core::pool_task;

#[pool_task]
fn main() {}
//~`main` cannot be a task
