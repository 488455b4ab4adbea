use pool_core::prelude::*;
#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}
fn main() {
    let _ = square::Task;
}
