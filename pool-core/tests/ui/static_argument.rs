//! Arguments that would have to live for ever.

use pool_core::pool_task;

#[pool_task]
fn text(text: &'static str) -> usize {
    //~       ^^^^^^^^^^^^ write `&str`: an argument is lent for the call only
    text.len()
}

#[pool_task]
fn inside(values: Vec<&'static [u8]>) -> usize {
    //~               ^^^^^^^^^^^^^ write `&[u8]`: an argument is lent for the call only
    values.len()
}

fn main() {}
