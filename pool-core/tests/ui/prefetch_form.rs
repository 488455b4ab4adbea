//! `prefetch` is a number of items, at least one.

use pool_core::pool_task;

#[pool_task(prefetch = 0)]
//~                    ^ write `prefetch = 100`: a whole number from 1
fn none(x: u64) -> u64 { x }

#[pool_task(prefetch = "100")]
//~                    ^^^^^ write `prefetch = 100`: a whole number from 1
fn text(x: u64) -> u64 { x }

#[pool_task(prefetch)]
//~         ^^^^^^^^ write `prefetch = 100`: a whole number from 1
fn flag(x: u64) -> u64 { x }

fn main() {}
