//! Numbers in groups of seven bits, the least first; the high bit of a byte says that more follow.

use crate::codec::encoder::Encoder;

/// Most bytes that a `u64` takes.
const BYTES_MAX: usize = 10;

/// Appends a number.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn put(number: u64, out: &mut Encoder<'_>) {
    if number < 0x80 { out.put_array([number as u8]) } else { put_groups(number, out) }
}

// A call for large numbers only, so that the code at each field is a comparison and a store.
#[inline(never)]
fn put_groups(number: u64, out: &mut Encoder<'_>) {
    let mut bytes = [0; BYTES_MAX];
    let mut rest = number;
    let mut length = 0;
    while rest > 0x7f {
        bytes[length] = rest as u8 | 0x80;
        rest >>= 7;
        length += 1;
    }
    bytes[length] = rest as u8;
    // All ten bytes are stored where there is room, since a copy of a length known only now would call `memcpy`.
    out.put_first(bytes, length + 1);
}

/// Appends a number of up to 128 bits.
pub(super) fn put_long(number: u128, out: &mut Encoder<'_>) {
    let mut rest = number;
    // The low nine groups fit a `u64`, and another one follows them. They are put as one array: one by one, each needs its own
    // check for room, which takes some 18 ns more for a number.
    while rest > u64::MAX.into() {
        let low = rest as u64;
        out.put_array(std::array::from_fn::<u8, 9, _>(|group| (low >> (7 * group)) as u8 | 0x80));
        rest >>= 9 * 7;
    }
    put(rest as u64, out);
}
