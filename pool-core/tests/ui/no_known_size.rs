//! Types without a known size, by value.

use std::path::Path;

use pool_core::{pool_state, pool_task};

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

#[pool_task]
fn inside(text: Option<str>, lines: &[str]) -> usize {
    //~                ^^^ write `String`: the size of a `str` is not known
    //~                               ^^^ write `String`: the size of a `str` is not known
    text.map_or(0, |text| text.len()) + lines.len()
}

#[pool_task]
fn beside(pair: (u8, [f64])) -> Vec<Path> {
    //~              ^^^^^ write `Vec<f64>`
    //~                             ^^^^ write `PathBuf`
    let _ = pair.1.len();
    Vec::new()
}

#[pool_task]
fn shape(shape: dyn std::fmt::Debug) -> usize {
    //~         ^^^^^^^^^^^^^^^^^^^ write a concrete type
    size_of_val(&shape)
}

#[pool_task]
fn state(#[state] text: &mut str) -> usize {
    //~                      ^^^ write `&String` or `&mut String`: a state is a value, and the size of a `str` is not known
    text.len()
}

#[pool_task]
fn state_by_value(#[state] shape: dyn std::fmt::Debug) -> usize {
    //~                           ^^^^^^^^^^^^^^^^^^^ write `&Box<dyn std::fmt::Debug>`, or `&mut Box<dyn std::fmt::Debug>`
    size_of_val(&shape)
}

#[pool_state]
fn opens(x: u8) -> Result<dyn std::fmt::Debug, String> {
    //~                   ^^^^^^^^^^^^^^^^^^^ write `Box<dyn std::fmt::Debug>`
    Err(x.to_string())
}

#[pool_task]
fn part(part: &mut [str], offset: usize) -> usize {
    //~             ^^^ an element is plain memory
    part.len() + offset
}

fn main() {
    println!("{:?} {:?}", text::Task, returned::Task);
}
