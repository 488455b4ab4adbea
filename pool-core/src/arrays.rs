//! Arrays in shared memory: every worker reads the host's pages, and nothing is copied.
//!
//! A [`SharedVec`] is filled by one process. [`SharedVec::freeze`] seals its memory against writing by anybody and makes a
//! [`SharedSlice`] of it, whose clones and parts are as cheap as an `Arc`. Both travel as arguments and results.

mod element;
mod file;
mod slice;
mod travel;
mod vec;
pub(crate) mod window;

pub use self::slice::{SharedChunks, SharedSlice};
pub use self::vec::SharedVec;
