//! A mapping of an array's memory.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mremap, munmap};

use crate::error::Error;
use crate::sys::page_bytes;

/// Bytes of a large page, where ordinary ones have 4 KiB. Elsewhere the kernel makes none of this size, and all else holds.
pub(super) const LARGE_PAGE_BYTES: usize = 2 << 20;

/// So many bytes in whole pages.
pub(super) fn round_up(bytes: usize) -> Result<usize, Error> {
    bytes.checked_next_multiple_of(page_bytes()).ok_or(Error::TooLarge { bytes: bytes as u64 })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// An address range of this process that shows the memory of a descriptor; dangling if it has no bytes.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) base: NonNull<u8>,
    pub(super) bytes: usize,
    access: Access,
    /// The process that made it: a forked copy has no writable mapping to take down.
    owner: u32,
}

// SAFETY:
// - the address range belongs to the process, not to a thread;
// - `&Mapping` gives out nothing; code that makes references of the address answers for them.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Where a mapping of no bytes is: aligned as pages are, which is more than any plain type asks for.
const NOWHERE: NonNull<u8> = NonNull::without_provenance(NonZeroUsize::new(1 << 16).expect("not zero"));

impl Mapping {
    /// Shows the first `bytes` bytes of the memory.
    pub(super) fn new(fd: BorrowedFd<'_>, bytes: usize, access: Access) -> Result<Mapping, Error> {
        let mut mapping = Mapping::reserve(bytes)?;
        mapping.access = access;
        mapping.map_at(fd, 0..bytes, 0, MapFlags::empty())?;
        Ok(mapping)
    }

    /// Addresses for `bytes` bytes, where no memory is yet. If they hold a large page, the first one is where such a page may begin.
    pub(super) fn reserve(bytes: usize) -> Result<Mapping, Error> {
        let spare = if bytes < LARGE_PAGE_BYTES { 0 } else { LARGE_PAGE_BYTES - page_bytes() };
        // Addresses go back in whole pages, and an array may end within one.
        let pages = round_up(bytes)?;
        let all = pages.checked_add(spare).ok_or(Error::TooLarge { bytes: bytes as u64 })?;
        let Some(len) = NonZeroUsize::new(all) else { return Ok(Mapping::default()) };
        // Not counted as memory: nothing is ever written there before something else is mapped.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other.
        let found = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_NONE, flags) };
        let found: NonNull<u8> = found.map_err(|errno| Error::system("mmap", errno))?.cast();
        // The spare addresses before and behind go back.
        let before = if spare == 0 { 0 } else { found.addr().get().wrapping_neg() % LARGE_PAGE_BYTES };
        // SAFETY: `before` is at most `spare`, since both are of whole pages.
        let base = unsafe { found.add(before) };
        // SAFETY: the end of the addresses that are kept lies within those that were found.
        let end = unsafe { base.add(pages) };
        drop(Mapping { base: found, bytes: before, ..Mapping::default() });
        drop(Mapping { base: end, bytes: spare - before, ..Mapping::default() });
        let mapping = Mapping { base, bytes, ..Mapping::default() };
        advise(base, bytes, mapping.access)?;
        Ok(mapping)
    }

    /// Shows the bytes of the memory from `offset` on in these bytes of the mapping, all of them whole pages.
    ///
    /// On an error some of the mapping may be gone, and it is of no further use.
    pub(super) fn show(&mut self, fd: BorrowedFd<'_>, bytes: Range<usize>, offset: usize) -> Result<(), Error> {
        // All pages in one system call: they are about to be written, and each would be a fault else.
        self.map_at(fd, bytes, offset, MapFlags::MAP_POPULATE)
    }

    fn map_at(&mut self, fd: BorrowedFd<'_>, bytes: Range<usize>, offset: usize, flags: MapFlags) -> Result<(), Error> {
        // In release builds, too: past its end another mapping would be replaced.
        assert!(bytes.end <= self.bytes, "{bytes:?} of a mapping of {}", self.bytes);
        let Some(len) = NonZeroUsize::new(bytes.len()) else { return Ok(()) };
        // The kernel counts offsets with a sign.
        let offset = libc::off_t::try_from(offset).map_err(|_| Error::TooLarge { bytes: offset as u64 })?;
        // SAFETY: the place lies within the mapping.
        let place = unsafe { self.base.add(bytes.start) };
        // A private mapping: before Linux 6.7 the kernel refuses a shared one of sealed memory even for reading. Both
        // show the same pages, and a process that makes its own writable gets copies.
        let (protection, sharing) = match self.access {
            Access::ReadOnly => (ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE),
            Access::ReadWrite => (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED),
        };
        // SAFETY:
        // - the range is this mapping's own, and no reference into it is alive (`&mut self`).
        let shown =
            unsafe { mmap(Some(place.addr()), len, protection, sharing | MapFlags::MAP_FIXED | flags, fd, offset) };
        if let Err(errno) = shown {
            // The kernel may have cleared the range before it failed, and another thread may have got it since: it is left.
            // SAFETY: the end of the range lies within the mapping, or at its end.
            let base = unsafe { place.add(bytes.len()) };
            drop(Mapping { base, bytes: self.bytes - bytes.end, ..Mapping::default() });
            self.bytes = bytes.start;
            return Err(Error::system("mmap", errno));
        }
        advise(place, bytes.len(), self.access)
    }

    /// Has the kernel make large pages of these bytes of the mapping, which are of whole ones.
    ///
    /// # Errors
    /// `EINVAL` before Linux 6.1 and where the machine forbids them, `ENOMEM` or `EAGAIN` if there were not enough: then some may be
    /// as before.
    pub(super) fn collapse(&self, bytes: Range<usize>) -> Result<(), Errno> {
        assert!(bytes.end <= self.bytes, "{bytes:?} of a mapping of {}", self.bytes);
        // SAFETY: the place lies within the mapping.
        let place = unsafe { self.base.add(bytes.start) };
        // SAFETY: no byte changes, and no address.
        Errno::result(unsafe { libc::madvise(place.as_ptr().cast(), bytes.len(), libc::MADV_COLLAPSE) }).map(drop)
    }

    /// Shows `bytes` bytes of the memory from now on, which has as many. It shows some already.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        // Under a limit on addresses there may be none for both: then the kernel chooses, and large pages may be split.
        let place = if bytes < LARGE_PAGE_BYTES { None } else { Mapping::reserve(bytes).ok() };
        let mut flags = MRemapFlags::MREMAP_MAYMOVE;
        flags.set(MRemapFlags::MREMAP_FIXED, place.is_some());
        // On an error the kernel may have given up the place, and another thread may have got it since: it is left.
        let place = place.map(|place| ManuallyDrop::new(place).base.cast());
        // SAFETY:
        // - the old range is this mapping's own, and no reference into it is alive (`&mut self`);
        // - the new one is that of the place, which is of as many bytes, or one of the kernel's choice where nothing is.
        let base = unsafe { mremap(self.base.cast(), self.bytes, bytes, flags, place) };
        self.base = base.map_err(|errno| Error::system("mremap", errno))?.cast();
        self.bytes = bytes;
        advise(self.base, bytes, self.access)
    }
}

impl Default for Mapping {
    /// Of no bytes.
    fn default() -> Mapping {
        Mapping { base: NOWHERE, bytes: 0, access: Access::ReadWrite, owner: std::process::id() }
    }
}

fn advise(base: NonNull<u8>, bytes: usize, access: Access) -> Result<(), Error> {
    if bytes == 0 {
        return Ok(());
    }
    if access != Access::ReadOnly {
        // SAFETY: only a child's copy of the range is affected.
        unsafe { madvise(base.cast(), bytes, MmapAdvise::MADV_DONTFORK) }
            .map_err(|errno| Error::system("madvise", errno))?;
    }
    // Fewer faults where the kernel has large pages for shared memory; it says so if not, which changes nothing.
    // SAFETY: advice about pages of our own changes no byte.
    let _ = unsafe { madvise(base.cast(), bytes, MmapAdvise::MADV_HUGEPAGE) };
    Ok(())
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a forked copy nothing is mapped there, or something else.
        if self.bytes > 0 && (self.access == Access::ReadOnly || self.owner == std::process::id()) {
            // SAFETY: the range is this mapping's own, and goes with it.
            let unmapped = unsafe { munmap(self.base.cast(), self.bytes) };
            debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
        }
    }
}
