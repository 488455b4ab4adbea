//! A function that writes a part of an array needs its offset next, cannot be retried, and makes no ordinary task.

use pool_core::{Pool, SharedVec, pool_task};

#[pool_task]
fn no_offset(part: &mut [f64], factor: f64) {
    //~                        ^^^^^^^^^^^ write `offset: usize` behind this
    part.iter_mut().for_each(|x| *x *= factor);
}

#[pool_task]
fn alone(part: &mut [f64]) {
    //~  ^^^^^^^^^^^^^^^^ write `offset: usize` behind this
    part.fill(0.0);
}

#[pool_task(retries = 2)]
fn retried(part: &mut [f64], _offset: usize) {
//~ cannot be retried: the part may be half written
    part.fill(0.0);
}

#[pool_task(prefetch = 2)]
fn lazy(part: &mut [f64], _offset: usize) {
//~ not lazy: leave `prefetch` out
    part.fill(0.0);
}

#[pool_task]
fn texts(part: &mut [String], _offset: usize) {
    //~              ^^^^^^ Pod` is not satisfied
    part.fill(String::new());
}

#[pool_task]
fn behind(offset: usize, part: &mut [f64]) {
    //~                        ^^^^^^^^^^ take `part: &mut [T], offset: usize` first
    part[offset] = 0.0;
}

#[pool_task]
fn erase(part: &mut [u8], _offset: usize) {
    part.fill(0);
}

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() -> pool_core::Result<()> {
    let pool = Pool::new(1)?;
    pool.map_async(erase::Task, [()])?;
    //~            ^^^^^^^^^^^ not a pool task
    pool.map_chunks_mut(square::Task, &mut SharedVec::<u64>::zeroed(1)?, 1, 2)?;
    //~                 ^^^^^^^^^^^^ does not write a part of an array
    Ok(())
}
