//! A lifetime that has a name.

use pool_core::pool_task;

#[pool_task]
fn count<'x>(text: &'x str) -> usize {
    //~ ^^^^ elide the lifetime: write `&str` for `&'x str`
    text.len()
}

fn main() {}
