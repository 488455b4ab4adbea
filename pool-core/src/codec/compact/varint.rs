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
    if number < 1 << (7 * size_of::<u64>()) {
        return put_short(number, out);
    }
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

/// Appends a number of at most eight groups, which fit a word: bytes stored one by one and then read as a whole stall for some
/// nanoseconds.
#[inline(always)]
fn put_short(number: u64, out: &mut Encoder<'_>) {
    let before_last = number.ilog2() / 7;
    // Halves of 28 bits move 4 bits apart, then quarters of 14 by 2, then groups of 7 by 1.
    let mut groups = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
    groups = groups & 0x0000_3fff_0000_3fff | (groups & 0x0fff_c000_0fff_c000) << 2;
    groups = groups & 0x007f_007f_007f_007f | (groups & 0x3f80_3f80_3f80_3f80) << 1;
    let more = 0x8080_8080_8080_8080 & ((1 << (8 * before_last)) - 1);
    out.put_first((groups | more).to_le_bytes(), before_last as usize + 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths_are_written_as_by_postcard() {
        for bits in 0..u64::BITS {
            for number in [(1 << bits) - 1, 1 << bits, (1 << bits) + 1, u64::MAX >> bits, 0x5a5a_5a5a_5a5a_5a5a >> bits]
            {
                let expected = postcard::to_allocvec(&number).unwrap();
                // Also where no byte is left behind it.
                for room in [expected.len(), 16] {
                    let mut bytes = vec![0xff; room];
                    let mut out = Encoder::new(&mut bytes);
                    put(number, &mut out);
                    assert_eq!(out.finish(), Ok(expected.len()), "{number}");
                    assert_eq!(bytes[..expected.len()], expected, "{number}");
                }
            }
        }
    }
}
