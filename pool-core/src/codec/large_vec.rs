//! Vectors that may become large: results of long maps, long messages.

#![allow(unsafe_code)]

use std::collections::TryReserveError;
use std::fs;
use std::sync::OnceLock;

use pool_ipc::sys::page_bytes;

/// A vector with room for so many items, if there is memory. A size hint may be a lie, so none is an error.
pub(crate) fn with_room<T>(items: usize) -> Vec<T> {
    let mut values = Vec::new();
    // Exact, because the hint is the length in nearly all cases. A failure is met again when the items come.
    let _ = values.try_reserve_exact(items);
    prefer_large_pages(&mut values);
    values
}

/// Makes room for so many more, and for others to come.
///
/// # Errors
///
/// There is no memory.
#[inline]
pub(crate) fn try_reserve<T>(values: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    if values.capacity() - values.len() < more {
        values.try_reserve(more)?;
        prefer_large_pages(values);
    }
    Ok(())
}

/// As [`try_reserve`], but ends the process if there is no memory, as `Vec::reserve` does.
#[inline]
pub(crate) fn reserve<T>(values: &mut Vec<T>, more: usize) {
    if try_reserve(values, more).is_err() {
        values.reserve(more);
    }
}

/// Bytes from which on large pages pay.
const LARGE: usize = 4 << 20;

/// Bytes beyond which an allocator gives memory back to the kernel at once, so that it is fresh each time. See
/// `DEFAULT_MMAP_THRESHOLD_MAX` in mallopt(3).
const ALWAYS_FRESH: usize = 32 << 20;

/// True if a virtual machine gives free large pages back to its host: then to fault one in means to fetch it from there.
/// Measured with 64 MiB: 3 ms in large pages that are at hand, 95 to 150 ms in others, 30 ms in small pages in any case.
fn are_large_pages_far() -> bool {
    static ARE_FAR: OnceLock<bool> = OnceLock::new();
    /// Position in the features: see "Traditional Memory Balloon Device" in the virtio standard.
    const FREE_PAGE_REPORTING: usize = 5;
    let has_reporting = |features: Vec<u8>| features.get(FREE_PAGE_REPORTING) == Some(&b'1');
    *ARE_FAR.get_or_init(|| {
        // Where /sys is not mounted, nothing can be known.
        let devices = fs::read_dir("/sys/bus/virtio/drivers/virtio_balloon").into_iter().flatten().flatten();
        devices.filter_map(|device| fs::read(device.path().join("features")).ok()).any(has_reporting)
    })
}

/// Asks the kernel for large pages, where it gives them on request: faulting them in takes half of the time that small
/// pages take. NumPy asks as well. See MADV_HUGEPAGE in madvise(2).
pub(crate) fn prefer_large_pages<T>(values: &mut Vec<T>) {
    let bytes = values.capacity().saturating_mul(size_of::<T>());
    if bytes < LARGE || bytes > ALWAYS_FRESH && are_large_pages_far() {
        return;
    }
    // The partial pages at both ends are included: advice on a part splits the mapping in two, and `mremap`, by which an
    // allocator grows a large vector without a copy, moves one mapping only.
    let page = page_bytes();
    let before = values.as_ptr().addr() % page;
    let start = values.as_mut_ptr().cast::<libc::c_void>().wrapping_byte_sub(before);
    // SAFETY:
    // - the pages are mapped, since all of them hold some of the vector's memory;
    // - the advice changes how the kernel provides memory, and not its contents.
    // A refusal is ignored: a kernel without large pages serves small ones.
    unsafe { libc::madvise(start, (before + bytes).next_multiple_of(page), libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_size_hint_says_there_is_a_vector() {
        assert!(with_room::<u64>(3_000_000).capacity() >= 3_000_000);
        assert_eq!(with_room::<()>(usize::MAX), []);
        for items in [0, 1 << 40, 1 << 60, usize::MAX] {
            assert!(with_room::<u64>(items).is_empty());
        }
    }

    #[test]
    fn a_vector_keeps_its_values_while_it_grows() {
        let mut values = vec![7];
        assert!(try_reserve(&mut values, usize::MAX).is_err());
        while values.len() < LARGE {
            try_reserve(&mut values, 1000).unwrap();
            values.extend(std::iter::repeat_n(values.len(), 1000));
        }
        assert!(values[1..].chunks(1000).enumerate().all(|(at, chunk)| chunk == [1 + 1000 * at; 1000]));
    }
}
