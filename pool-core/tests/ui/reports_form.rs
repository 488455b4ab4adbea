//! A flag with a value.

use pool_core::pool_task;

#[pool_task(reports = true)]
//~         ^^^^^^^ write `reports`: it has no value
fn assigned() {}

#[pool_task(reports, reports)]
//~                  ^^^^^^^ `reports` is given twice
fn twice() {}

fn main() {}
