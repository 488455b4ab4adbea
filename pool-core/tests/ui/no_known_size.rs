//! Types without a known size, by value.

use std::path::Path;

use pool_core::pool_task;

#[pool_task]
fn text(text: str) -> usize {
    //~       ^^^ write `&str`: the size of a `str` is not known, so it is lent
    text.len()
}

#[pool_task]
fn slice(a: u8, values: [f64]) -> usize {
    //~                 ^^^^^ write `&[f64]`
    values.len() + a as usize
}

#[pool_task]
fn path(path: Path) -> bool {
    //~       ^^^^ write `&Path`
    path.exists()
}

#[pool_task]
fn returned(x: u64) -> str {
    //~                ^^^ return a `String`: the size of a `str` is not known
    *x.to_string()
}

#[pool_task]
fn bytes(x: u64) -> [u8] {
    //~             ^^^^ return a `Vec<u8>`
    *x.to_le_bytes()
}

fn main() {
    println!("{:?} {:?}", text::Task, returned::Task);
}
