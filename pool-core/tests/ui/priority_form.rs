//! Priorities that are none.

use pool_core::pool_task;

#[pool_task(priority = 3)]
//~                    ^ write `priority = "high"`: `"low"`, `"normal"` or `"high"`
fn number() {}

#[pool_task(priority = "urgent")]
//~                    ^^^^^^^^ write `priority = "high"`: `"low"`, `"normal"` or `"high"`
fn unknown() {}

#[pool_task(priority)]
//~ write `priority = "high"`
fn flag() {}

fn main() {}
