//! The host against workers that lie, in one process: what the fuzzer runs (`pool-core/fuzz`), and what tests run with
//! the inputs that it has found. Part of no ordinary build.
//!
//! Whatever the input, a call returns soon and does not panic.

mod decode;
mod peer;
mod replies;
mod tasks;
#[cfg(test)]
mod tests;

pub use self::decode::decode;
pub use self::replies::replies;
