//! The bytes that CBOR's items begin with.

/// The kind stands in the three high bits of the first byte.
pub(super) const MAJOR_SHIFT: u8 = 5;
pub(super) const INFO_MASK: u8 = 0x1f;

pub(super) const UNSIGNED: u8 = 0;
pub(super) const NEGATIVE: u8 = 1;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
pub(super) const TAG: u8 = 6;

/// The low bits of the first byte: the number follows in so many bytes.
pub(super) const ONE_BYTE: u8 = 24;
pub(super) const TWO_BYTES: u8 = 25;
pub(super) const FOUR_BYTES: u8 = 26;
pub(super) const EIGHT_BYTES: u8 = 27;
pub(super) const INDEFINITE: u8 = 31;

pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;
pub(super) const NULL: u8 = 0xf6;
pub(super) const F32: u8 = 0xfa;
pub(super) const F64: u8 = 0xfb;
pub(super) const BREAK: u8 = 0xff;

pub(super) const POSITIVE_TAG: u64 = 2;
pub(super) const NEGATIVE_TAG: u64 = 3;
/// A tag from the range that RFC 8949 leaves to anybody: these bytes stay among the processes of one program.
pub(super) const SOME_TAG: u64 = 0xff_ff00;
