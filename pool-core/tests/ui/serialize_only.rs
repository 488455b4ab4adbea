//! A type that can be written and not read.

use pool_core::pool_task;

#[derive(serde::Serialize)]
struct OneWay(u64);

#[pool_task]
fn there(way: OneWay) -> u64 {
    //~       ^^^^^^ `OneWay` cannot be an argument of a pool task
    way.0
}

#[pool_task]
fn back(x: u64) -> OneWay {
    //~            ^^^^^^ `OneWay` cannot be the result of a pool task
    OneWay(x)
}

fn main() {}
