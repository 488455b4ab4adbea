//! Numbers of retries that are none.

use pool_core::pool_task;

#[pool_task(retries = "3")]
//~                   ^^^ write `retries = 3`
fn text() {}

#[pool_task(retries = -1)]
//~ write `retries = 3`
fn negative() {}

#[pool_task(retries = 5_000_000_000)]
//~                   ^^^^^^^^^^^^^ write `retries = 3`: a whole number from 0 to 4294967295
fn large() {}

fn main() {}
