//! Large pages for the memory of arrays.
//!
//! With ordinary pages, half of the time of a new array goes into making them, and each process that maps it enters each of them
//! into its own page table. The kernel gives shared memory large pages by itself only where
//! `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says so, and it says `never` nearly everywhere. So they are asked for:
//! `MADV_COLLAPSE` of [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html) (Linux 6.1) makes them in each mode but `deny`.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::ftruncate;

use super::mapping::{Access, LARGE_PAGE_BYTES, Mapping};
use crate::sys::page_bytes;

/// Large pages are asked for in steps: each call waits until all CPUs have handed in their lists of fresh pages.
const STEP_BYTES: usize = 32 << 20;

/// A step that takes longer is the last one. A step takes 2 ms, or 130 to 250 ms in a virtual machine that gives free large pages
/// back to its host and has to fetch them from there, where ordinary pages would take 30 ms.
const STEP_TIME: Duration = Duration::from_millis(64);

/// Makes these bytes of large pages, as many as fit and as are at hand. They are the memory's last bytes, and nobody else uses it.
pub(super) fn make(fd: &OwnedFd, bytes: Range<usize>) {
    let start = bytes.start - bytes.start % LARGE_PAGE_BYTES;
    let end = bytes.end - bytes.end % LARGE_PAGE_BYTES;
    let Ok(size) = libc::off_t::try_from(bytes.end) else { return };
    // The kernel makes no large page that would pass the end of the file.
    if start >= end || ftruncate(fd, size).is_err() {
        return;
    }
    // For reading: a process that another thread forks now keeps the mapping, and a writable one would forbid to seal the memory.
    let Ok(mapping) = Mapping::new(fd.as_fd(), end, Access::ReadOnly) else { return };
    for step in (start..end).step_by(STEP_BYTES) {
        let begun = Instant::now();
        let step = step..end.min(step + STEP_BYTES);
        for at in step.clone().step_by(LARGE_PAGE_BYTES) {
            // A range without any page counts as cut off the file, so each gets its first one. Below `size`, so the cast is exact.
            let _ = fallocate(fd, FallocateFlags::empty(), at as libc::off_t, page_bytes() as libc::off_t);
        }
        if mapping.collapse(step).is_err() || begun.elapsed() > STEP_TIME {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::ArrayBuffer;
    use super::*;
    use crate::region::create_empty;

    /// Bytes of the buffer that this process has mapped in large pages.
    fn large_bytes(buffer: &ArrayBuffer) -> usize {
        let start = format!("{:x}-", buffer.bytes().as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mapping = maps.lines().skip_while(|line| !line.starts_with(&start));
        let kibibytes = mapping.filter_map(|line| line.strip_prefix("ShmemPmdMapped:")).next().expect("it is mapped");
        kibibytes.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// The kernel's answer to a wish for so many bytes of large pages.
    fn ask_for(bytes: usize) -> Result<(), Errno> {
        let fd = create_empty(c"probe").unwrap();
        fallocate(&fd, FallocateFlags::empty(), 0, bytes as libc::off_t).unwrap();
        Mapping::new(fd.as_fd(), bytes, Access::ReadOnly).unwrap().collapse(0..bytes)
    }

    #[test]
    fn arrays_lie_in_large_pages_where_the_kernel_has_them() {
        const BYTES: usize = 4 * LARGE_PAGE_BYTES;
        const TRIES: usize = 100;
        let mut given = 0;
        for _ in 0..TRIES {
            match ask_for(BYTES) {
                Err(Errno::EINVAL) => {
                    eprintln!("skipped: this kernel makes no large pages on request");
                    return;
                }
                // None are at hand: memory is scarce, or lies in small pieces.
                Err(_) => continue,
                Ok(()) => given += 1,
            }
            let mut buffer = ArrayBuffer::with_capacity(LARGE_PAGE_BYTES).unwrap();
            buffer.bytes_mut().fill(7);
            // Memory that grows is moved to where its large pages stay whole.
            buffer.grow(BYTES + 1).unwrap();
            let (old, new) = buffer.bytes().split_at(LARGE_PAGE_BYTES);
            assert!(old.iter().all(|byte| *byte == 7) && new.iter().all(|byte| *byte == 0));
            if large_bytes(&buffer) == BYTES {
                return;
            }
        }
        // Other processes may take the pages in between, but not each time.
        assert!(given < TRIES / 2, "the kernel gave large pages {given} times, but no array had them");
        eprintln!("skipped: the kernel gave large pages {given} times of {TRIES} only");
    }
}
