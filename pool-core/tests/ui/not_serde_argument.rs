//! Types that serde does not know.

use pool_core::pool_task;

struct Plain(u64);

#[pool_task]
fn owned(plain: Plain) -> u64 {
    //~         ^^^^^ `Plain` cannot be an argument of a pool task
    //~ cannot travel to a worker process
    //~ derive `serde::Serialize` and `serde::Deserialize`
    plain.0
}

#[pool_task]
fn lent(plain: &Plain) -> u64 {
    //~         ^^^^^ `Plain` cannot be an argument of a pool task
    //~ opened by a `#[pool_state]`, and taken as `#[state] name: &T`
    plain.0
}

#[pool_task]
fn slice(plain: &[Plain]) -> usize {
    //~          ^^^^^^^ `[Plain]` cannot be an argument of a pool task
    plain.len()
}

#[pool_task]
fn nested(a: u64, plain: Vec<Plain>) -> u64 {
    //~                  ^^^^^^^^^^ `Vec<Plain>` cannot be an argument of a pool task
    a + plain[0].0
}

#[pool_task]
fn borrowed(plain: Option<&Plain>) -> bool {
    //~            ^^^^^^^^^^^^^^ `Option<&Plain>` cannot be an argument of a pool task
    //~ of the references inside of another type, only `&str`, `&[u8]` and `&Path` can be lent
    plain.is_some()
}

fn main() {}
