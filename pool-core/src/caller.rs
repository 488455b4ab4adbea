//! The thread that called: takes items from an iterator, encodes them, and decodes the results.
//!
//! Nothing here runs under the host's lock, except the closures that it passes there.

pub(crate) mod arguments;
pub(crate) mod block_builder;
pub(crate) mod feed;
mod fill;
pub(crate) mod initializer;
pub(crate) mod input;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod lazy_map;
mod ordered_parts;
pub(crate) mod outcome;
pub(crate) mod ranges;
pub(crate) mod window;
