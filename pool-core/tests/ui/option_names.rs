//! Values without the name of their option, and a path in quotes.

use pool_core::{pool_state, pool_task};

#[pool_task("2s")]
//~         ^^^^ write the name of the option before its value: `timeout = "2s"`, `retries = 3`
fn limit() {}

#[pool_task(timeout = "2s", 3)]
//~                         ^ write the name of the option before its value
fn number() {}

#[pool_state("2s")]
//~          ^^^^ write the name of the option before its value: `timeout = "2s"`
fn state() -> u64 {
    0
}

#[pool_task(crate = "pool_core")]
//~                 ^^^^^^^^^^^ write `crate = pool_core`: the path of pool-core, without quotes
fn quoted() {}

#[pool_task(crate)]
//~         ^^^^^ write `crate = pool_core`
fn bare() {}

#[pool_task(Duration::from_secs(2))]
//~         ^^^^^^^^^^^^^^^^^^^ unknown option `Duration::from_secs`
fn call() {}

fn main() {}
