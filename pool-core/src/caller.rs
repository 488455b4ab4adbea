//! The thread that called: takes items from an iterator, encodes them, and decodes what comes back.
//!
//! Nothing here runs under the host's lock, except the closures that it passes there.

pub(crate) mod arguments;
pub(crate) mod block_builder;
pub(crate) mod initializer;
pub(crate) mod input;
pub(crate) mod job_input;
pub(crate) mod outcome;
pub(crate) mod ranges;
pub(crate) mod window;
