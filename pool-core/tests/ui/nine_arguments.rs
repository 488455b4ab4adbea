//! More arguments than a task can have.

use pool_core::pool_task;

#[pool_task]
#[allow(clippy::too_many_arguments)]
fn nine(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8) -> u8 {
    //~                                                         ^^^^^ a task takes at most 8 arguments: put several into a struct or a tuple
    a + b + c + d + e + f + g + h + i + j
}

fn main() {}
