//! Types without a name.

use pool_core::pool_task;

#[pool_task]
fn argument(items: impl Iterator<Item = u64>) -> u64 {
    //~            ^^^^^^^^^^^^^^^^^^^^^^^^^ write a concrete type, such as `Vec<u64>`, in place of `impl Iterator<Item = u64>`
    items.sum()
}

#[pool_task]
fn result(n: u64) -> impl Iterator<Item = u64> {
    //~              ^^^^^^^^^^^^^^^^^^^^^^^^^ write a concrete type, such as `Vec<u64>`, in place of `impl Iterator<Item = u64>`
    0..n
}

fn main() {}
