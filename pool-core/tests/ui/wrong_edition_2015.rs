//! Our errors come in edition 2015, too, where `::core` is not found.

extern crate pool_core;

use pool_core::pool_task;

#[pool_task(timeout = "soon")]
//~                   ^^^^^^ write `timeout = "2s"`
fn longer(values: &mut Vec<u64>) {
    //~           ^^^^^^^^^^^^^ take the argument by value and return it
    values.push(1);
}

fn main() {}
