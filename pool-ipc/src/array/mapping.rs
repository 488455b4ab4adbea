//! A mapping of an array's memory.

#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::sys::mman::{MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mremap, munmap};

use crate::error::Error;
use crate::sys::page_bytes;

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
        let mut mapping = Mapping { access, ..Mapping::default() };
        if let Some(len) = NonZeroUsize::new(bytes) {
            // A private mapping: before Linux 6.7 the kernel refuses a shared one of sealed memory even for reading. Both
            // show the same pages, and a process that makes its own writable gets copies.
            let (protection, flags) = match access {
                Access::ReadOnly => (ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE),
                Access::ReadWrite => (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED),
            };
            // SAFETY: a new mapping at an address of the kernel's choice touches no other.
            let base = unsafe { mmap(None, len, protection, flags, fd, 0) };
            mapping.base = base.map_err(|errno| Error::system("mmap", errno))?.cast();
            mapping.bytes = bytes;
        }
        advise(mapping.base, mapping.bytes, access)?;
        Ok(mapping)
    }

    /// Addresses for `bytes` bytes, where no memory is yet.
    pub(super) fn reserve(bytes: usize) -> Result<Mapping, Error> {
        let Some(len) = NonZeroUsize::new(bytes) else { return Ok(Mapping::default()) };
        // Not counted as memory: nothing is ever written there before something else is mapped.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other.
        let base = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_NONE, flags) };
        let base = base.map_err(|errno| Error::system("mmap", errno))?.cast();
        let mapping = Mapping { base, bytes, ..Mapping::default() };
        advise(base, bytes, mapping.access)?;
        Ok(mapping)
    }

    /// Shows the bytes of the memory from `offset` on in these bytes of the mapping, all of them whole pages.
    ///
    /// On an error some of the mapping may be gone, and it is of no further use.
    pub(super) fn show(&mut self, fd: BorrowedFd<'_>, bytes: Range<usize>, offset: usize) -> Result<(), Error> {
        // In release builds, too: past its end another mapping would be replaced.
        assert!(bytes.end <= self.bytes, "{bytes:?} of a mapping of {}", self.bytes);
        let Some(len) = NonZeroUsize::new(bytes.len()) else { return Ok(()) };
        // The kernel counts offsets with a sign.
        let offset = libc::off_t::try_from(offset).map_err(|_| Error::TooLarge { bytes: offset as u64 })?;
        // SAFETY: the place lies within the mapping.
        let place = unsafe { self.base.add(bytes.start) };
        // All pages in one system call: they are about to be written, and each would be a fault else.
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED | MapFlags::MAP_POPULATE;
        // SAFETY:
        // - the range is this mapping's own, and no reference into it is alive (`&mut self`).
        let shown =
            unsafe { mmap(Some(place.addr()), len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags, fd, offset) };
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

    /// Shows `bytes` bytes of the memory from now on, which has as many. It shows some already.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        // SAFETY:
        // - the old range is this mapping's own, and no reference into it is alive (`&mut self`);
        // - the kernel chooses an address where nothing is.
        let base = unsafe { mremap(self.base.cast(), self.bytes, bytes, MRemapFlags::MREMAP_MAYMOVE, None) };
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
