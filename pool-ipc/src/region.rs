//! Shared memory of the kernel: sealed memfds, and mappings of them.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::{ManuallyDrop, align_of, size_of};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use super::error::Error;
use super::layout::{Plain, WORDS_BYTES};
use super::memory::Memory;
use super::shared::{Keeper, Shared};
use super::sys::off_standard_streams;

/// Seals of all shared memory. Memory that shrinks kills its readers (SIGBUS), and further seals could break its writers.
pub(crate) const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Seals of memory that only its maker writes, through the mapping made before. No other holder of the descriptor, nor a
/// process that opens the memory through /proc, can map it writable, make a mapping writable, write, or punch holes.
pub(crate) const HOST_SEALS: SealFlag = SEALS.union(SealFlag::F_SEAL_FUTURE_WRITE);

/// The rights of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// Makes `bytes` bytes of zeroed shared memory, maps all of it, and seals it. The first `allocated` bytes take memory now,
/// the others when they are populated.
pub(crate) fn create(
    name: &CStr,
    bytes: usize,
    allocated: usize,
    seals: SealFlag,
    access: Access,
) -> Result<(OwnedFd, Arc<Mapping>), Error> {
    // Past this limit the kernel kills (SIGXFSZ) instead of refusing.
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(|errno| Error::system("getrlimit", errno))?;
    if bytes as u64 > limit {
        return Err(Error::FileLimit { needed: bytes as u64, limit });
    }
    let len = libc::off_t::try_from(bytes).map_err(|_| Error::RingSize { bytes: bytes as u64 })?;
    // The size is that of the ring when it has grown to its end. Only `allocated` bytes of it get memory.
    let fd = create_empty(name)?;
    ftruncate(&fd, len).map_err(|errno| Error::system("ftruncate", errno))?;
    if allocated > 0 {
        allocate(&fd, allocated)?;
    }
    // Mapped before it is sealed, since the seals may forbid further writable mappings.
    let mapping = Mapping::new(&fd, bytes, access)?;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| Error::system("fcntl(F_ADD_SEALS)", errno))?;
    Ok((fd, mapping))
}

/// Maps all of the memory behind `fd`, which must have these seals and at least `bytes_min` bytes.
///
/// # Errors
/// [`Error::Seals`], [`Error::Size`], and [`Error::System`].
pub(crate) fn open(
    fd: BorrowedFd<'_>,
    bytes_min: usize,
    seals: SealFlag,
    access: Access,
) -> Result<Arc<Mapping>, Error> {
    let found = fcntl(fd, FcntlArg::F_GET_SEALS).map_err(|errno| Error::system("fcntl(F_GET_SEALS)", errno))?;
    if !SealFlag::from_bits_retain(found).contains(seals) {
        return Err(Error::Seals { found, expected: seals.bits() });
    }
    let found = fstat(fd).map_err(|errno| Error::system("fstat", errno))?.st_size.cast_unsigned();
    match usize::try_from(found) {
        Ok(bytes) if bytes >= bytes_min => Mapping::new(fd, bytes, access),
        _ => Err(Error::Size { found, expected: bytes_min as u64 }),
    }
}

pub(crate) fn create_empty(name: &CStr) -> Result<OwnedFd, Error> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let noexec = flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(name, noexec) {
        Err(Errno::EINVAL) => memfd_create(name, flags), // before Linux 6.3, which introduced the flag
        made => made,
    }
    .map_err(io::Error::from)
    .and_then(off_standard_streams)
    .map_err(|error| Error::system("memfd_create", error))
}

/// Takes memory for the first `bytes` bytes now. Otherwise the first touch of a page would kill the process (SIGBUS) on a
/// machine without memory.
fn allocate(fd: &OwnedFd, bytes: usize) -> Result<(), Error> {
    let len = libc::off_t::try_from(bytes).map_err(|_| Error::RingSize { bytes: bytes as u64 })?;
    loop {
        match fallocate(fd, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("fallocate", errno)),
        }
    }
}

/// A mapping of one memory object. It is unmapped when the last ring or word in it is dropped.
///
/// Forked processes do not inherit it (MADV_DONTFORK in madvise(2)), so a copy of a host or of a worker can neither read
/// nor damage the messages of the others.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: ManuallyDrop<MmapRaw>,
    owner: u32,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A forked copy does not have the mapping, and another one may lie at the address.
        if self.owner == std::process::id() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.raw) };
        }
    }
}

impl Mapping {
    /// Maps all `bytes` bytes of the memory, from its start: any other offset would have to be a multiple of the page size.
    pub(crate) fn new(fd: impl AsFd, bytes: usize, access: Access) -> Result<Arc<Mapping>, Error> {
        let fd = fd.as_fd();
        // Not populated: that would make a lane of 64 + 64 KiB in 130 µs instead of 70, and one of which every page is
        // used would gain nothing (205 µs instead of 190 µs), since the kernel maps neighbouring pages at a fault anyway.
        let mut options = MmapOptions::new();
        options.len(bytes);
        let raw = match access {
            Access::ReadOnly => options.map_raw_read_only(&fd),
            Access::ReadWrite => options.map_raw(&fd),
        };
        let raw = raw.map_err(|source| Error::system("mmap", source))?;
        raw.advise(Advice::DontFork).map_err(|source| Error::system("madvise", source))?;
        Ok(Arc::new(Mapping { raw: ManuallyDrop::new(raw), owner: std::process::id() }))
    }

    /// Bytes of the memory.
    pub(crate) fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// Takes memory for the pages of these bytes now. False if there is none, or before Linux 5.14, which cannot tell. See
    /// MADV_POPULATE_READ in madvise(2).
    pub(crate) fn populate(&self, bytes: Range<usize>, access: Access) -> bool {
        let advice = match access {
            Access::ReadOnly => Advice::PopulateRead,
            Access::ReadWrite => Advice::PopulateWrite,
        };
        // Linux before 5.14 knows no such advice; then nothing grows, and rings keep their first size.
        self.raw.advise_range(advice, bytes.start, bytes.len()).is_ok()
    }

    /// Takes all pages out of this process's resident memory; see MADV_DONTNEED in madvise(2). The bytes stay in the object.
    pub(crate) fn forget_pages(&self) {
        // SAFETY: the mapping is shared, so the next access finds the same bytes.
        let _ = unsafe { self.raw.unchecked_advise(UncheckedAdvice::DontNeed) };
    }

    /// Tries to make the mapping writable; true if the kernel allows it.
    #[cfg(test)]
    pub(crate) fn make_writable(&self) -> bool {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the mapping is ours, and no reference to its bytes asks for them to be read-only.
        unsafe { libc::mprotect(self.raw.as_mut_ptr().cast(), self.raw.len(), protection) == 0 }
    }

    /// The shared words at `offset`.
    ///
    /// # Panics
    /// If they are not within the mapping, or not aligned.
    pub(crate) fn words<T: Plain>(self: &Arc<Mapping>, offset: usize) -> Shared<T> {
        let at = self.place(offset, size_of::<T>(), align_of::<T>()).cast();
        // SAFETY:
        // - within the mapping and aligned, as checked by `place`;
        // - `T: Plain`, so whatever bytes are there are a `T`, and may change;
        // - the mapping stays where it is until it is dropped.
        unsafe { Shared::new(Arc::clone(self) as Keeper, at) }
    }

    /// The ring's bytes at `offset`.
    ///
    /// # Panics
    /// If they are not within the mapping, or their number is not a power of two.
    pub(crate) fn ring(self: &Arc<Mapping>, offset: usize, bytes: usize) -> Memory {
        let at = self.place(offset, bytes, WORDS_BYTES);
        // SAFETY:
        // - within the mapping, as checked by `place`; the mapping stays where it is until it is dropped;
        // - the other invariants are checked by `Memory::new`;
        // - this process touches the bytes of a ring through `Memory` only.
        unsafe { Memory::new(Arc::clone(self) as Keeper, at, bytes) }
    }

    /// The address of the bytes at `offset`, which is valid until the mapping is dropped.
    ///
    /// # Panics
    /// If they are not within the mapping, or not aligned.
    pub(crate) fn place(&self, offset: usize, bytes: usize, align: usize) -> NonNull<u8> {
        let len = self.raw.len();
        assert!(offset <= len && bytes <= len - offset, "outside of the mapping");
        assert!(offset.is_multiple_of(align), "not aligned");
        let base = NonNull::new(self.raw.as_mut_ptr()).expect("a mapping is never at address 0");
        // SAFETY: checked to lie within the mapping.
        unsafe { base.add(offset) }
    }
}
