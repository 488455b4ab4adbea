//! Shared memory from the kernel: sealed memfds, and mappings of them.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::{ManuallyDrop, align_of, size_of};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw};
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

/// Seals of all shared memory: memory that can change its size kills its readers with SIGBUS, and memory whose seals can
/// change could do so later.
pub(crate) const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Seals of memory that nobody writes but its maker, by the mapping made before: whoever else has the descriptor, or opens
/// the memory anew by way of /proc, can neither map it writable, nor make a mapping writable, nor write, nor punch holes.
pub(crate) const HOST_SEALS: SealFlag = SEALS.union(SealFlag::F_SEAL_FUTURE_WRITE);

/// What a mapping allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// Makes `bytes` of shared memory, zeroed, of which the first `allocated` have memory now; maps all of it, and seals it.
pub(crate) fn create(
    name: &CStr,
    bytes: usize,
    allocated: usize,
    seals: SealFlag,
    access: Access,
) -> Result<(OwnedFd, Arc<Mapping>), Error> {
    // Past this limit the kernel does not refuse, it kills (SIGXFSZ).
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(|errno| Error::system("getrlimit", errno))?;
    if bytes as u64 > limit {
        return Err(Error::FileLimit { needed: bytes as u64, limit });
    }
    let len = libc::off_t::try_from(bytes).map_err(|_| Error::RingSize { bytes: bytes as u64 })?;
    let fd = create_empty(name)?;
    ftruncate(&fd, len).map_err(|errno| Error::system("ftruncate", errno))?;
    if allocated > 0 {
        allocate(&fd, allocated)?;
    }
    // Before the seals, which may forbid further writable mappings.
    let mapping = Mapping::new(&fd, bytes, access)?;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| Error::system("fcntl(F_ADD_SEALS)", errno))?;
    Ok((fd, mapping))
}

/// Maps all of the memory that somebody else has made, and which must have these seals and at least so many bytes.
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
        Err(Errno::EINVAL) => memfd_create(name, flags), // Linux before 6.3 does not know the flag
        made => made,
    }
    .map_err(io::Error::from)
    .and_then(off_standard_streams)
    .map_err(|error| Error::system("memfd_create", error))
}

/// Takes the memory of the first `bytes` now: without this a full machine would say so with SIGBUS at the first touch of a
/// page.
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

/// An object of shared memory, mapped. Unmapped when the last ring or word in it is dropped.
///
/// A process that this one forks does not get it (MADV_DONTFORK in madvise(2)): a copy of a host or of a worker can neither
/// read nor damage what the others say to each other.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: ManuallyDrop<MmapRaw>,
    owner: u32,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a forked copy there is nothing to unmap, and something else may lie at the address.
        if self.owner == std::process::id() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.raw) };
        }
    }
}

impl Mapping {
    /// Maps all `bytes` of the memory. From the start on, since other offsets would have to be multiples of a page, whose
    /// size depends on the machine.
    pub(crate) fn new(fd: impl AsFd, bytes: usize, access: Access) -> Result<Arc<Mapping>, Error> {
        let fd = fd.as_fd();
        // Not populated: for a lane of 64 + 64 KiB that takes 60 µs of the 130 µs of making it, and a lane of which
        // every page is used then costs no less (205 µs instead of 190 µs), since the kernel maps neighbours at a
        // fault anyway.
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

    /// Takes memory for these bytes now, and for the rest of their pages, if it was not allocated when it was made; false if there is none, or the kernel
    /// (before Linux 5.14) cannot say so. See MADV_POPULATE_READ in madvise(2).
    pub(crate) fn populate(&self, bytes: Range<usize>, access: Access) -> bool {
        let advice = match access {
            Access::ReadOnly => Advice::PopulateRead,
            Access::ReadWrite => Advice::PopulateWrite,
        };
        self.raw.advise_range(advice, bytes.start, bytes.len()).is_ok()
    }

    /// Whether the kernel lets this process write here from now on.
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

    /// The address of bytes at `offset`, which stays theirs until the mapping is dropped.
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
