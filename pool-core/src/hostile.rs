//! The host against workers that lie, in one process. The fuzzer (`pool-core/fuzz`) runs this, and tests run it with the inputs
//! that the fuzzer has found. It is part of no ordinary build.
//!
//! For any input a call returns soon and does not panic.

mod decode;
mod peer;
mod replies;
mod tasks;
#[cfg(test)]
mod tests;

pub use self::decode::decode;
pub use self::replies::replies;
