//! Copies past the caches, for what would not stay in them.

#![allow(unsafe_code)]

/// Copies `bytes` to `place`, of the same length, past the caches, where the processor can (Intel's Software Developer's
/// Manual, "Caching of Temporal vs. Non-Temporal Data").
///
/// # Panics
/// If the lengths differ.
#[cfg(target_arch = "x86_64")]
pub(crate) fn stream(place: &mut [u8], bytes: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_sfence, _mm_stream_si128};

    assert_eq!(place.len(), bytes.len());
    let unaligned = place.as_ptr().align_offset(VECTOR).min(place.len());
    let (first, place) = place.split_at_mut(unaligned);
    let (to_first, bytes) = bytes.split_at(unaligned);
    first.copy_from_slice(to_first);
    let (pieces, last) = place.as_chunks_mut::<VECTOR>();
    let (to_pieces, to_last) = bytes.as_chunks::<VECTOR>();
    for (piece, &to_piece) in pieces.iter_mut().zip(to_pieces) {
        // SAFETY: any 16 bytes are such a vector.
        let vector = unsafe { std::mem::transmute::<[u8; VECTOR], __m128i>(to_piece) };
        // SAFETY:
        // - the place has 16 bytes and is aligned to as many, as the first is;
        // - every x86-64 processor has the instruction;
        // - nobody reads what it wrote before the fence below.
        unsafe { _mm_stream_si128((&raw mut *piece).cast(), vector) };
    }
    last.copy_from_slice(to_last);
    // SAFETY: every x86-64 processor has it. The store that publishes the record would not wait for these by itself.
    unsafe { _mm_sfence() };
}

/// Bytes of the processor's vectors.
#[cfg(target_arch = "x86_64")]
const VECTOR: usize = 16;

/// An ordinary copy, where no other is known.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn stream(place: &mut [u8], bytes: &[u8]) {
    place.copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::stream;

    #[test]
    fn all_bytes_arrive_and_no_others_change() {
        let bytes: Vec<u8> = (1..=200).collect();
        for start in 0..70 {
            for len in 0..=bytes.len() - 70 {
                let mut place = [0; 300];
                stream(&mut place[start..start + len], &bytes[70 - start..70 - start + len]);
                assert_eq!(place[start..start + len], bytes[70 - start..70 - start + len]);
                assert!(place[..start].iter().chain(&place[start + len..]).all(|&byte| byte == 0));
            }
        }
    }
}
