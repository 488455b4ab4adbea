//! Types that are known when the program runs.

use pool_core::pool_task;

#[pool_task]
fn argument(shape: &dyn std::fmt::Debug) -> String {
    //~             ^^^^^^^^^^^^^^^^^^^ write a concrete type, such as an enum or a `String`, in place of `dyn std::fmt::Debug`
    format!("{shape:?}")
}

#[pool_task]
fn result(x: u64) -> Box<dyn std::fmt::Debug> {
    //~                  ^^^^^^^^^^^^^^^^^^^ write a concrete type, such as an enum or a `String`, in place of `dyn std::fmt::Debug`
    Box::new(x)
}

fn main() {}
