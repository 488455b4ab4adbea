//! A closure in the place of a task.

use pool_core::prelude::*;

fn main() -> pool_core::Result<()> {
    let pool = Pool::new(2)?;
    let offset = 3_u64;
    pool.map(move |x: u64| x + offset, 0..5)?;
    //~      ^^^^^^^^^^^^^^^^^^^^^^^^ is not a pool task
    //~ a closure cannot travel to another process, since it holds values of this one
    pool.apply(|| 1, ())?;
    //~        ^^^^ write a function with `#[pool_task]` that takes what the closure captures as arguments
    pool.apply(u64::count_ones as fn(u64) -> u32, 1)?;
    //~        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `fn(u64) -> u32` is not a pool task
    Ok(())
}
