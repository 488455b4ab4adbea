//! Types with a `&'static str` within, which cannot be decoded from bytes that live for one call.

use pool_core::pool_task;

#[derive(serde::Serialize, serde::Deserialize)]
struct Name {
    name: &'static str,
}

#[pool_task]
fn owned(x: u64, name: Name) -> usize {
    //~                ^^^^ `'bytes_of_one_call` must outlive `'static`
    x as usize + name.name.len()
}

#[pool_task]
fn lent(name: &Name) -> usize {
    //~        ^^^^ `'bytes_of_one_call` must outlive `'static`
    name.name.len()
}

#[pool_task]
fn slice(names: &[Name]) -> usize {
    //~          ^^^^^^ `'bytes_of_one_call` must outlive `'static`
    names.iter().map(|name| name.name.len()).sum()
}

#[pool_task]
fn result() -> Vec<Name> {
    //~        ^^^^^^^^^ `'bytes_of_one_call` must outlive `'static`
    Vec::new()
}

fn main() {}
