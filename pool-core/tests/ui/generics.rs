//! Functions that are many.

use pool_core::pool_task;

#[pool_task]
fn of_type<T: Copy>(x: T) -> T {
    //~   ^^^^^^^^^ a task has one entry in the dispatch table: write a function with concrete types that calls this one
    x
}

#[pool_task]
fn of_const<const N: usize>(x: [u64; N]) -> u64 {
    //~    ^^^^^^^^^^^^^^^^ a task has one entry in the dispatch table
    x[0]
}

#[pool_task]
fn of_both<'a, T>(x: &'a str, y: T) -> (usize, T) {
    //~   ^^^^^^^ a task has one entry in the dispatch table
    (x.len(), y)
}

#[pool_task]
fn of_clause(x: u64) -> u64
where
    //~ a task has one entry
    u64: Copy,
{
    x
}

fn main() {}
