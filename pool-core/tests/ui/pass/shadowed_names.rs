//! A program that gives the usual names a meaning of its own.

#![allow(dead_code, non_camel_case_types, non_snake_case, unused_macros)]

mod core {}
mod std {}
mod alloc {}
mod serde {}
mod linkme {}

struct Result;
struct Option;
struct Vec;
struct usize;
struct Clone;
struct Debug;
struct Task;
struct Entry;
struct Decoder;
fn Ok() {}
fn Some() {}
fn None() {}
macro_rules! module_path {
    () => {
        compile_error!("not this one")
    };
}
macro_rules! file {
    () => {
        compile_error!("not this one")
    };
}

trait Methods: Sized {
    fn pick(self) {}
    fn encode(self) {}
    fn decode(self) {}
    fn size(self) {}
    fn finish(self) {}
}
impl<T> Methods for T {}

#[::pool_core::pool_task(timeout = "2s")]
fn square(input: u64, output: &str, args: &[f64], out: ::std::option::Option<&str>) -> u64 {
    let _ = (output, args, out);
    input * input
}

#[::pool_core::pool_task]
fn arg0(arg0: u64) -> u64 {
    arg0
}

#[::pool_core::pool_task]
fn input(input: u64) -> u64 {
    input
}

fn main() {
    let _ = (square::Task, arg0::Task, input::Task);
    let _ = (square(1, "", &[], ::std::option::Option::None), arg0(1), input(1));
}
