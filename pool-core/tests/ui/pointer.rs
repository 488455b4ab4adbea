//! Addresses.

use pool_core::pool_task;

#[pool_task]
fn argument(at: *const u8) -> bool {
    //~         ^^^^^^^^^ a pointer means nothing in another process: pass the value behind it
    at.is_null()
}

#[pool_task]
fn function(f: fn(u64) -> u64) -> u64 {
    //~        ^^^^^^^^^^^^^^ a function pointer means nothing in another process: pass an enum and match on it
    f(1)
}

fn main() {}
