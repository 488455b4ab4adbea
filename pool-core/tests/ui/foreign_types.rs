//! Types of other crates that serde does not know, each with its own advice.

use std::error::Error;
use std::fs::File;
use std::num::ParseIntError;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pool_core::pool_task;

#[pool_task]
fn file(file: File) -> bool {
    //~       ^^^^ `File` cannot be an argument of a pool task
    //~ many types of other crates have them behind a feature named `serde`
    file.metadata().is_ok()
}

#[pool_task]
fn instant(since: Instant) -> u64 {
    //~           ^^^^^^^ pass a `Duration`, or a `SystemTime`
    since.elapsed().as_secs()
}

#[pool_task]
fn now() -> Instant {
    //~     ^^^^^^^ return a `Duration`, or a `SystemTime`
    Instant::now()
}

#[pool_task]
fn shared(data: Arc<Vec<u8>>) -> usize {
    //~         ^^^^^^^^^^^^ take `&T` or `T` in its place
    data.len()
}

#[pool_task]
fn lent(data: &(Rc<str>, u8)) -> usize {
    //~        ^^^^^^^^^^^^^ `SharedSlice` shares an array with all workers
    data.0.len()
}

#[pool_task]
fn makes_shared() -> Arc<str> {
    //~              ^^^^^^^^ return what it holds
    "text".into()
}

#[pool_task]
fn array(names: Option<[String; 33]>) -> bool {
    //~         ^^^^^^^^^^^^^^^^^^^^ serde knows arrays of up to 32 elements: write `Vec<T>`
    names.is_some()
}

#[pool_task]
fn arrays() -> Vec<[String; 40]> {
    //~        ^^^^^^^^^^^^^^^^^ serde knows arrays of up to 32 elements: write `Vec<T>`
    Vec::new()
}

#[pool_task]
fn parse(text: &str) -> Result<u32, ParseIntError> {
    //~                 ^^^^^^^^^^^^^^^^^^^^^^^^^^ `Result<u32, ParseIntError>` cannot be the result of a pool task
    //~ of any other error return the text: `Result<T, String>` and `.map_err(|error| error.to_string())`
    text.parse()
}

#[pool_task]
fn value(path: &str) -> std::io::Result<File> {
    //~                 ^^^^^^^^^^^^^^^^^^^^^ the value must be one that a task can return without `Result`
    File::open(path)
}

#[pool_task]
fn boxed(text: &str) -> Result<u32, Box<dyn Error>> {
    //~                                 ^^^^^^^^^ write `dyn Error + Send + Sync`
    Ok(text.parse()?)
}

fn main() {}
