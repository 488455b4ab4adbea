//! Types of other crates that serde does not know, each with its own advice.

use std::error::Error;
use std::fs::File;
use std::num::ParseIntError;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, MutexGuard};
use std::thread::ThreadId;
use std::time::Instant;

use pool_core::pool_task;

#[pool_task]
fn file(file: File) -> bool {
    //~       ^^^^ `File` cannot be an argument of a pool task
    //~ pass its path or address, and open it in the task
    file.metadata().is_ok()
}

#[pool_task]
fn opened(path: &str) -> File {
    //~                  ^^^^ return its path or its content
    File::open(path).unwrap()
}

#[pool_task]
fn foreign(id: ThreadId) -> bool {
    //~        ^^^^^^^^ many types of other crates have them behind a feature named `serde`
    id == std::thread::current().id()
}

#[pool_task]
fn locked(total: MutexGuard<'_, u64>) -> u64 {
    //~          ^^^^^^^^^^^^^^^^^^^ pass the value itself, and let the task return one
    *total
}

#[pool_task]
fn sends(lines: &Sender<String>) -> bool {
    //~          ^^^^^^^^^^^^^^ a running task sends messages to its caller by `pool_core::report`
    lines.send("line".into()).is_ok()
}

#[pool_task]
fn guard() -> MutexGuard<'static, u64> {
    //~       ^^^^^^^^^^^^^^^^^^^^^^^^ a lock is held in its own process: return the value behind it
    todo!()
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
fn counted() -> Option<Rc<str>> {
    //~                ^^^^^^^ an `Rc` is not shared with another process: return what it holds
    Some("text".into())
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
    //~ or `anyhow::Result<T>`, into which `?` turns it
    text.parse()
}

#[pool_task]
fn value() -> std::io::Result<ThreadId> {
    //~       ^^^^^^^^^^^^^^^^^^^^^^^^^ the value must be one that a task can return without `Result`
    Ok(std::thread::current().id())
}

#[pool_task]
fn boxed(text: &str) -> Result<u32, Box<dyn Error>> {
    //~                                 ^^^^^^^^^ write `dyn Error + Send + Sync`
    Ok(text.parse()?)
}

fn main() {}
