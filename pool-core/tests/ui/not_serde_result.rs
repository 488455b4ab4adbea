//! A result that serde does not know.

use pool_core::pool_task;

struct Plain(u64);

#[pool_task]
fn owned(x: u64) -> Plain {
    //~             ^^^^^ `Plain` cannot be the result of a pool task
    //~ cannot travel back from a worker process
    //~ derive `serde::Serialize` and `serde::Deserialize`
    Plain(x)
}

#[pool_task]
fn nested(x: u64) -> Result<Plain, String> {
    //~              ^^^^^^^^^^^^^^^^^^^^^ `Result<Plain, String>` cannot be the result of a pool task
    Ok(Plain(x))
}

fn main() {}
