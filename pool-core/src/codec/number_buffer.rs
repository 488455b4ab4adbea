//! The results of a map of plain numbers, which are copied once: out of the ring, to their place in the caller's vector, in
//! the order in which they come.

#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;

use pool_ipc::{Consumer, Record};

use crate::codec::large_vec;

/// A vector of some kind of number that is being filled.
pub trait ResultBuffer: Send + fmt::Debug {
    /// Copies the record's payload to the place of these items. False, and nothing is copied, if the lengths differ.
    fn store(&mut self, first: u64, items: u32, ring: &Consumer, record: &Record) -> bool;

    /// As [`store`](ResultBuffer::store), for bytes that are here already.
    fn store_bytes(&mut self, first: u64, items: u32, bytes: &[u8]) -> bool;

    /// The vector of the values that have come, and those of the `items` that have none.
    fn finish(self: Box<Self>, items: usize) -> (Box<dyn Any>, Vec<Range<usize>>);
}

/// A vector that is being filled, with gaps.
///
/// # Invariants
/// * The items in `buffered` have been written. Its ranges are in order, and neither overlap nor touch.
#[derive(Debug)]
struct NumberBuffer<T> {
    values: Vec<MaybeUninit<T>>,
    buffered: Vec<Range<usize>>,
}

/// Numbers with an encoding that is their memory: no padding, and every pattern of bits is a value.
///
/// # Safety
///
/// That must be so.
pub(crate) unsafe trait Number: Copy + Send + fmt::Debug + 'static {}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        // SAFETY:
        // - integers and floats are such; their encoding is little-endian, and `new_buffer` asks for a machine that is, too.
        unsafe impl Number for $number {}
    )*};
}
numbers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

/// These bytes as the memory of numbers; `None` if they are not aligned for them, or not a whole number of them.
pub(crate) fn view<T: Number>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY:
    // - a number has no padding, and every pattern of bits is one.
    let (before, values, behind) = unsafe { bytes.align_to::<T>() };
    let is_whole = before.is_empty() && behind.is_empty() && cfg!(target_endian = "little");
    is_whole.then_some(values)
}

/// The memory of these numbers, if it is their encoding.
pub(crate) fn bytes_of<T: Number>(values: &[T]) -> Option<&[u8]> {
    // SAFETY:
    // - a number has no padding, so all of its bytes are initialized.
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
    cfg!(target_endian = "little").then_some(bytes)
}

/// A buffer for so many values, more or less.
pub(crate) fn new_buffer<T: Number>(items: usize) -> Option<Box<dyn ResultBuffer>> {
    let new = || {
        Box::new(NumberBuffer::<T> { values: large_vec::with_room(items), buffered: Vec::new() })
            as Box<dyn ResultBuffer>
    };
    cfg!(target_endian = "little").then(new)
}

impl<T: Number> NumberBuffer<T> {
    /// The bytes of these items, if there are `length`.
    fn place(&mut self, items: Range<usize>, length: usize) -> Option<&mut [MaybeUninit<u8>]> {
        if items.len().checked_mul(size_of::<T>()) != Some(length) {
            return None;
        }
        let len = self.values.len();
        if len < items.end {
            // Without zeroing: the memory is touched once, by the values themselves.
            large_vec::reserve(&mut self.values, items.end - len);
            self.values.resize_with(items.end, MaybeUninit::uninit);
        }
        let place = &mut self.values[items];
        // SAFETY:
        // - a number is `size_of::<T>()` bytes without padding, each of which may be anything.
        Some(unsafe { std::slice::from_raw_parts_mut(place.as_mut_ptr().cast(), length) })
    }

    fn note(&mut self, items: Range<usize>) {
        if let Some(last) = self.buffered.last_mut().filter(|last| last.end == items.start) {
            last.end = items.end;
            return;
        }
        // Chunks come in nearly any order, but each near the last ones, so the list stays short. The ranges that overlap
        // or touch the new one are `at..behind`; they become one with it.
        let at = self.buffered.partition_point(|buffered| buffered.end < items.start);
        let behind = self.buffered.partition_point(|buffered| buffered.start <= items.end);
        let start =
            self.buffered.get(at).filter(|_| at < behind).map_or(items.start, |first| first.start.min(items.start));
        let end = self.buffered[at..behind].last().map_or(items.end, |last| last.end.max(items.end));
        self.buffered.splice(at..behind, std::iter::once(start..end));
    }

    fn into_values(self, items: usize) -> (Vec<T>, Vec<Range<usize>>) {
        let NumberBuffer { values, buffered } = self;
        if items == values.len() && (items == 0 || buffered.first() == Some(&(0..items))) {
            // The usual case, without a copy: the vector's memory only changes its type.
            let mut values = std::mem::ManuallyDrop::new(values);
            // SAFETY:
            // - `MaybeUninit<T>` is laid out as `T`, and the vector that had the memory gives it up;
            // - all of the values have been written.
            let values = unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast::<T>(), items, values.capacity()) };
            return (values, Vec::new());
        }
        // Items are missing, since some failed: the caller gets the values that exist, without places for the others.
        let mut whole = Vec::with_capacity(values.len());
        let (mut gaps, mut next) = (Vec::new(), 0);
        for range in buffered {
            if next < range.start {
                gaps.push(next..range.start);
            }
            next = range.end;
            // SAFETY:
            // - the items in `buffered` have been written.
            whole.extend(values[range].iter().map(|value| unsafe { value.assume_init() }));
        }
        if next < items {
            gaps.push(next..items);
        }
        (whole, gaps)
    }
}

impl<T: Number> ResultBuffer for NumberBuffer<T> {
    fn store(&mut self, first: u64, items: u32, ring: &Consumer, record: &Record) -> bool {
        let items = first as usize..first as usize + items as usize;
        // The length is the worker's word; only after this check is the place known to hold the bytes.
        let Some(place) = self.place(items.clone(), record.len) else { return false };
        // The record is as long as the place, so all of the place is written.
        ring.copy_to(record, 0, place);
        self.note(items);
        true
    }

    fn store_bytes(&mut self, first: u64, items: u32, bytes: &[u8]) -> bool {
        let items = first as usize..first as usize + items as usize;
        let Some(place) = self.place(items.clone(), bytes.len()) else { return false };
        place.write_copy_of_slice(bytes);
        self.note(items);
        true
    }

    fn finish(self: Box<Self>, items: usize) -> (Box<dyn Any>, Vec<Range<usize>>) {
        // A map's length is not known before its input ends, so the buffer may be longer or shorter.
        let items = items.max(self.values.len());
        let (values, gaps) = self.into_values(items);
        (Box::new(values), gaps)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "ranges are what is meant")]
mod tests {
    use super::*;

    fn filled(parts: &[Range<u64>], items: usize) -> (Vec<u64>, Vec<Range<usize>>) {
        let mut buffer = NumberBuffer::<u64> { values: Vec::new(), buffered: Vec::new() };
        for part in parts {
            let bytes: Vec<u8> = part.clone().flat_map(u64::to_le_bytes).collect();
            assert!(buffer.store_bytes(part.start, (part.end - part.start) as u32, &bytes));
            assert!(!buffer.store_bytes(part.start, (part.end - part.start) as u32, &bytes[1..]), "a byte is missing");
        }
        buffer.into_values(items)
    }

    #[test]
    fn in_whatever_order_they_come() {
        let all: Vec<u64> = (0..10).collect();
        assert_eq!(filled(&[0..10], 10), (all.clone(), vec![]));
        assert_eq!(filled(&[6..10, 0..3, 3..6], 10), (all.clone(), vec![]));
        assert_eq!(filled(&[4..5, 9..10, 0..4, 5..9], 10), (all, vec![]));
        assert_eq!(filled(&[], 0), (vec![], vec![]));
    }

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(filled(&[], 3), (vec![], vec![0..3]));
        assert_eq!(filled(&[2..4, 6..7], 9), (vec![2, 3, 6], vec![0..2, 4..6, 7..9]));
        assert_eq!(filled(&[0..2, 5..6], 6), (vec![0, 1, 5], vec![2..5]));
        assert_eq!(filled(&[0..2], 3), (vec![0, 1], vec![2..3]));
    }
}
