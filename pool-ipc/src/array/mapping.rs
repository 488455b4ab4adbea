//! A mapping of an array's memory.

#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::sys::mman::{MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mremap, munmap};

use crate::error::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
    /// As `ReadWrite`, of memory all of which is about to be used.
    Window,
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
    /// Shows these bytes; they begin at a page.
    pub(super) fn new(fd: BorrowedFd<'_>, bytes: Range<usize>, access: Access) -> Result<Mapping, Error> {
        let mut mapping = Mapping { base: NOWHERE, bytes: 0, access, owner: std::process::id() };
        if let Some(len) = NonZeroUsize::new(bytes.len()) {
            // A private mapping: before Linux 6.7 the kernel refuses a shared one of sealed memory even for reading. Both
            // show the same pages, and a process that makes its own writable gets copies.
            let (protection, flags) = match access {
                Access::ReadOnly => (ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE),
                Access::ReadWrite => (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED),
                // All pages in one system call: they are about to be written, and each would be a fault else.
                Access::Window => {
                    (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE)
                }
            };
            // The kernel counts offsets with a sign.
            let too_large = |_| Error::TooLarge { bytes: bytes.start as u64 };
            let offset = libc::off_t::try_from(bytes.start).map_err(too_large)?;
            // SAFETY: a new mapping at an address of the kernel's choice touches no other.
            let base = unsafe { mmap(None, len, protection, flags, fd, offset) };
            mapping.base = base.map_err(|errno| Error::system("mmap", errno))?.cast();
            mapping.bytes = len.get();
        }
        mapping.advise()?;
        Ok(mapping)
    }

    /// Shows `bytes` bytes of the memory from now on, which has as many.
    pub(super) fn grow(&mut self, fd: BorrowedFd<'_>, bytes: usize) -> Result<(), Error> {
        if self.bytes == 0 {
            *self = Mapping::new(fd, 0..bytes, self.access)?;
            return Ok(());
        }
        // SAFETY:
        // - the old range is this mapping's own, and no reference into it is alive (`&mut self`);
        // - the kernel chooses an address where nothing is.
        let base = unsafe { mremap(self.base.cast(), self.bytes, bytes, MRemapFlags::MREMAP_MAYMOVE, None) };
        self.base = base.map_err(|errno| Error::system("mremap", errno))?.cast();
        self.bytes = bytes;
        self.advise()
    }

    fn advise(&self) -> Result<(), Error> {
        if self.bytes == 0 {
            return Ok(());
        }
        if self.access != Access::ReadOnly {
            // SAFETY: only a child's copy of the range is affected.
            unsafe { madvise(self.base.cast(), self.bytes, MmapAdvise::MADV_DONTFORK) }
                .map_err(|errno| Error::system("madvise", errno))?;
        }
        // Fewer faults where the kernel has large pages for shared memory; it says so if not, which changes nothing.
        // SAFETY: advice about pages of our own changes no byte.
        let _ = unsafe { madvise(self.base.cast(), self.bytes, MmapAdvise::MADV_HUGEPAGE) };
        Ok(())
    }
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
