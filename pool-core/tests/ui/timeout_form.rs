//! Times that are none.

use pool_core::pool_task;

#[pool_task(timeout = "soon")]
//~                   ^^^^^^ write `timeout = "2s"`: a time above zero in ms, s, m or h
fn unknown() {}

#[pool_task(timeout = "0s")]
//~                   ^^^^ write `timeout = "2s"`
fn zero() {}

#[pool_task(timeout = 2)]
//~                   ^ write `timeout = "2s"`
fn number() {}

#[pool_task(timeout)]
//~         ^^^^^^^ write `timeout = "2s"`
fn missing() {}

#[pool_task(timeout = "1s", timeout = "2s")]
//~                         ^^^^^^^ `timeout` is given twice
fn twice() {}

fn main() {}
