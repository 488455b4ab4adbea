//! Values that stand one behind the other, seen without their types: each behind its length, or all of one size.

use super::decoder::Decoder;

/// The bytes of the first `items` values, which have `size` bytes each or stand behind their lengths; `None` if there are fewer.
pub(crate) fn length(bytes: &[u8], items: u32, size: Option<usize>) -> Option<usize> {
    if let Some(size) = size {
        return size.checked_mul(items as usize).filter(|length| *length <= bytes.len());
    }
    let mut input = Decoder::new(bytes);
    for _ in 0..items {
        input.item(None).ok()?;
    }
    Some(bytes.len() - input.rest.len())
}

/// How many of the first `items` values fit into `room` bytes, and their bytes; `None` if the first one does not, or is none.
pub(crate) fn fitting(bytes: &[u8], items: u32, size: Option<usize>, room: usize) -> Option<(u32, usize)> {
    if let Some(size) = size {
        // Values of no size fit anywhere.
        let most = room.min(bytes.len()).checked_div(size).unwrap_or(usize::MAX);
        let count = most.min(items as usize) as u32;
        return (count > 0).then_some((count, count as usize * size));
    }
    let mut input = Decoder::new(bytes);
    let (mut count, mut end) = (0, 0);
    while count < items && input.item(None).is_ok() && bytes.len() - input.rest.len() <= room {
        (count, end) = (count + 1, bytes.len() - input.rest.len());
    }
    (count > 0).then_some((count, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_their_lengths() {
        let framed = [&3u32.to_le_bytes()[..], b"abc", &0u32.to_le_bytes(), &1u32.to_le_bytes(), b"d"].concat();
        assert_eq!([0, 1, 2, 3].map(|items| length(&framed, items, None)), [0, 7, 11, 16].map(Some));
        assert_eq!((length(&framed, 4, None), length(&framed[..15], 3, None)), (None, None));
        assert_eq!(
            [16, 15, 11, 7].map(|room| fitting(&framed, 9, None, room)),
            [(3, 16), (2, 11), (2, 11), (1, 7)].map(Some)
        );
        assert_eq!((fitting(&framed, 9, None, 6), fitting(&[9, 0, 0, 0], 1, None, 100)), (None, None));
    }

    #[test]
    fn values_of_one_size_are_counted_by_it() {
        assert_eq!((length(&[0; 12], 3, Some(4)), length(&[0; 12], 4, Some(4))), (Some(12), None));
        assert_eq!((length(&[], u32::MAX, Some(0)), length(&[0; 12], u32::MAX, Some(usize::MAX))), (Some(0), None));
        assert_eq!(
            (fitting(&[0; 12], 3, Some(4), 11), fitting(&[0; 12], 1, Some(4), 99)),
            (Some((2, 8)), Some((1, 4)))
        );
        assert_eq!((fitting(&[0; 12], 3, Some(4), 3), fitting(&[], 3, Some(0), 0)), (None, Some((3, 0))));
    }
}
