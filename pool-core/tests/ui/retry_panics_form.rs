//! A flag with a value.

use pool_core::pool_task;

#[pool_task(retries = 3, retry_panics = true)]
//~                      ^^^^^^^^^^^^ write `retries = 3, retry_panics`: it has no value
fn assigned() {}

#[pool_task(retries = 3, retry_panics(true))]
//~                      ^^^^^^^^^^^^ write `retries = 3, retry_panics`: it has no value
fn called() {}

#[pool_task(retry_panics, retry_panics)]
//~                       ^^^^^^^^^^^^ `retry_panics` is given twice
fn twice() {}

fn main() {}
