//! The kinds of doubt about a value that has been read, as bits.

/// An enum with a list of names that does not, or may not, say which variant an index is.
pub(super) const ENUM: u8 = 1;
/// A type that may read other fields than it writes.
pub(super) const OPEN: u8 = 2;
/// A type that has been seen to do so.
pub(super) const REFUSED: u8 = 4;
