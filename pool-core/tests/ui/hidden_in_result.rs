//! A result that borrows under a hidden lifetime.

use pool_core::pool_task;

#[derive(serde::Serialize, serde::Deserialize)]
struct Record<'a> {
    name: &'a str,
}

#[pool_task]
fn parse(text: &str) -> Record {
    //~                 ^^^^^^ missing lifetime specifier
    Record { name: text }
}

fn main() {}
