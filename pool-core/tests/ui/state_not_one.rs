//! A task in the place of a state.

use pool_core::prelude::*;

#[pool_task]
fn square(x: u64) -> u64 { x * x }

fn main() {
    let builder = Pool::builder();
    let _ = builder.state(square::Task, 3);
//~                       ^^^^^^^^^^^^ `square::Task` is not a pool state
//~ annotate the function that opens it with `#[pool_state]`
}
