//! A function that does not come back.

use pool_core::pool_task;

#[pool_task]
fn forever() -> ! {
    //~         ^ a task comes back to its caller: return `()`
    loop {}
}

fn main() {}
