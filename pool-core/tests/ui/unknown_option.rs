//! Options that there are not.

use pool_core::pool_task;

#[pool_task(timout = "2s")]
//~         ^^^^^^ unknown option `timout`: there are `timeout`, `grace`, `retries`, `retry_panics`, `reports`, `prefetch`, `priority`, `codec` and `crate`
fn misspelt() {}

#[pool_task(chunk_size = 3)]
//~         ^^^^^^^^^^ unknown option `chunk_size`
fn of_the_call() {}

fn main() {}
