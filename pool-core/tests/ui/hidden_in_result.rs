//! A result that borrows under a hidden lifetime: one error, and on the type.

use pool_core::{pool_state, pool_task};

#[derive(serde::Serialize, serde::Deserialize)]
struct Record<'a> {
    name: &'a str,
}

type Line<'a> = &'a str;

#[pool_task]
fn parse(text: &str) -> Record {
    //~                 ^^^^^^ missing lifetime specifier
    Record { name: text }
}

#[pool_task]
fn without_arguments() -> Record {
    //~                   ^^^^^^ missing lifetime specifier
    Record { name: "" }
}

#[pool_task]
fn of_numbers(x: u64, _: Vec<u8>) -> Result<Vec<Record>, String> {
    //~                                         ^^^^^^ missing lifetime specifier
    Err(x.to_string())
}

#[pool_task]
fn line(x: u64) -> (u64, Line) {
    //~                  ^^^^ missing lifetime specifier
    (x, "")
}

#[pool_task]
fn elided(x: u64) -> Option<Record<'_>> {
    //~                            ^^ return a value that borrows nothing
    let _ = x;
    None
}

#[pool_task]
fn reference(x: u64) -> &str {
    //~                 ^^^^ return an owned value
    let _ = x;
    ""
}

#[pool_task]
fn of_part(part: &mut [u8], offset: usize) -> Record {
    //~                                       ^^^^^^ missing lifetime specifier
    part[0] = offset as u8;
    Record { name: "" }
}

#[pool_task]
fn element(part: &mut [Record], offset: usize) -> usize {
    //~                ^^^^^^ the trait bound `Record<'static>: bytemuck::pod::Pod` is not satisfied
    part.len() + offset
}

#[pool_state]
fn state(x: u64) -> Result<Record, String> {
    //~                    ^^^^^^ missing lifetime specifier
    Err(x.to_string())
}

#[pool_state]
fn state_reference(x: u64) -> Result<&str, String> {
    //~                              ^^^^ a state owns all that it holds
    Err(x.to_string())
}

#[pool_state]
fn state_elided(x: u64) -> Record<'_> {
    //~                           ^^ a state owns all that it holds
    let _ = x;
    Record { name: "" }
}

fn main() {}
