//! Memory of a shared array: written by one process, then sealed against writing by anybody.
//!
//! | type | writer | seals |
//! |---|---|---|
//! | [`ArrayBuffer`] | its owner, through `&mut` | none yet |
//! | [`ArrayWindow`] | one process a part, while the owner waits | none yet |
//! | [`FrozenArray`] | nobody | `F_SEAL_WRITE`, `F_SEAL_SHRINK`, `F_SEAL_GROW`, `F_SEAL_SEAL` |
//!
//! Seals are the kernel's promise, not ours: see "File sealing" in
//! [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html). A file that is mapped by [`FrozenArray::map_file`] has no
//! seals, so its caller makes the promise in place of the kernel.
//!
//! Before the seals, processes trust each other's code to keep Rust's rules. A window maps whole pages and keeps them mapped, so only its
//! borrows keep a process from the bytes beside its part and from writing later; and a process that gives its memory away has dropped its
//! mapping before. Forked copies of a process have neither mapping (`MADV_DONTFORK`).
//!
//! Miri knows neither memfds nor one memory at two addresses, so it cannot run this. AddressSanitizer can, and finds nothing: see
//! CONTRIBUTING.md.

#![allow(unsafe_code)]

mod large_pages;
mod mapping;
mod window;

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MmapAdvise, madvise};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use self::mapping::{Access, Mapping, round_up};
pub use self::window::ArrayWindow;
use super::error::Error;
use super::region::create_empty;

/// Seals of an array that nobody can write any more, and that keeps its size.
const FROZEN_SEALS: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Shared memory that its owner fills: zeroed, allocated, and mapped in this process alone.
///
/// A process that this one forks does not get the mapping (`MADV_DONTFORK` in
/// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html)), since it could write there without the owner's knowledge.
#[derive(Debug)]
pub struct ArrayBuffer {
    // Dropped before the descriptor, so that the last holder of the descriptor knows that nothing is mapped here.
    mapping: Mapping,
    fd: Arc<OwnedFd>,
}

impl ArrayBuffer {
    /// Makes memory of at least `bytes` bytes, rounded up to pages.
    ///
    /// # Errors
    /// [`Error::System`] where the kernel has no memory or no descriptor, [`Error::FileLimit`] beyond `RLIMIT_FSIZE`.
    pub fn with_capacity(bytes: usize) -> Result<ArrayBuffer, Error> {
        let fd = create_empty(c"pool-array")?;
        let bytes = round_up(bytes)?;
        resize(&fd, 0, bytes)?;
        let mapping = Mapping::new(fd.as_fd(), bytes, Access::ReadWrite)?;
        Ok(ArrayBuffer { mapping, fd: Arc::new(fd) })
    }

    /// Takes over memory of at least `bytes` bytes that another process has made and given away. That process is trusted to have
    /// unmapped it: the kernel could forbid others to write only together with the new owner.
    ///
    /// # Errors
    /// [`Error::Size`] if it is smaller, or if a part of it takes no memory yet; [`Error::System`].
    pub fn adopt(fd: OwnedFd, bytes: usize) -> Result<ArrayBuffer, Error> {
        let found = find_bytes(&fd)?;
        if found < bytes as u64 {
            return Err(Error::Size { found, expected: bytes as u64 });
        }
        // The size found counts, not the one told: it is the kernel's word.
        let capacity = usize::try_from(found).map_err(|_| Error::TooLarge { bytes: found })?;
        let mapping = Mapping::new(fd.as_fd(), capacity, Access::ReadWrite)?;
        Ok(ArrayBuffer { mapping, fd: Arc::new(fd) })
    }

    /// The descriptor, for sending it to another process. It is held by nobody else when the buffer and its copies of the
    /// descriptor are dropped.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// Bytes that are there.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.mapping.bytes
    }

    /// Moves the contents to other memory, since another process may go on writing where they are.
    ///
    /// # Errors
    /// As [`with_capacity`](ArrayBuffer::with_capacity), and [`Error::System`]; the buffer is empty then.
    pub fn move_away(&mut self) -> Result<(), Error> {
        let copied = ArrayBuffer::with_capacity(self.capacity()).and_then(|mut other| {
            // By the kernel: bytes that another process may write meanwhile are not to be read by reference.
            let file = self.fd.try_clone().map(File::from);
            let read = file.and_then(|file| file.read_exact_at(other.bytes_mut(), 0));
            read.map(|()| other).map_err(|source| Error::System { call: "pread", source })
        });
        // Also if there is no copy: the owner must not read bytes that another process writes.
        self.mapping = Mapping::default();
        *self = copied?;
        Ok(())
    }

    /// Makes room for at least `bytes` bytes. The memory may move; its contents stay.
    ///
    /// # Errors
    /// As [`with_capacity`](ArrayBuffer::with_capacity); the memory is then as before.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = round_up(bytes)?;
        if bytes <= self.mapping.bytes {
            return Ok(());
        }
        if self.mapping.bytes == 0 {
            // The old memory may be another process's.
            *self = ArrayBuffer::with_capacity(bytes)?;
            return Ok(());
        }
        // Memory first, then addresses: if the second fails, the array is as before and the file is longer, which is no harm.
        resize(&self.fd, self.mapping.bytes, bytes)?;
        self.mapping.grow(bytes)
    }

    /// The memory, in pages: aligned for every plain type.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY:
        // - the mapping has as many bytes, zeroed when they were made, and lives as long as `self`;
        // - this process writes by `bytes_mut` alone, and others write only parts that a window shows, by the promise of
        //   `ArrayWindow::show`'s caller: between two loans they may have the memory mapped, and do not touch it;
        // - the process that has given the memory away has unmapped it before.
        unsafe { slice::from_raw_parts(self.mapping.base.as_ptr(), self.mapping.bytes) }
    }

    /// The memory, to be written.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY:
        // - as in `bytes`;
        // - `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.mapping.base.as_ptr(), self.mapping.bytes) }
    }

    /// Seals the first `len` bytes for ever, and gives back the memory behind them.
    ///
    /// # Errors
    /// [`Error::System`], with `EBUSY` if some process still has the memory mapped writable.
    ///
    /// # Panics
    /// If `len` is more than the capacity.
    pub fn freeze(self, len: usize) -> Result<FrozenArray, Error> {
        let fd = self.cut(len)?;
        seal(&fd)?;
        FrozenArray::map_sealed(fd, len)
    }

    /// As [`freeze`](ArrayBuffer::freeze), of memory that other processes have been asked to [unmap](ArrayWindow::unmap): waits
    /// for them, and makes a copy if one takes too long.
    ///
    /// # Errors
    /// As [`with_capacity`](ArrayBuffer::with_capacity).
    ///
    /// # Panics
    /// If `len` is more than the capacity.
    pub fn freeze_returned(self, len: usize) -> Result<FrozenArray, Error> {
        let fd = self.cut(len)?;
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            // The kernel itself tells that nobody can write: no word of another process has to be believed.
            match seal(&fd) {
                Ok(()) => return FrozenArray::map_sealed(fd, len),
                Err(Error::System { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
            if begun.elapsed() > UNMAP_TIME {
                break;
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        // A process that is at other work cannot unmap before that has ended, which may take as long as it likes.
        let written = Mapping::new(fd.as_fd(), len, Access::ReadOnly)?;
        let mut copy = ArrayBuffer::with_capacity(len)?;
        // SAFETY:
        // - the mapping has as many bytes;
        // - nobody writes them: the owner is here, and a window that shows a part of them would break its own promise.
        let written = unsafe { slice::from_raw_parts(written.base.as_ptr(), written.bytes) };
        copy.bytes_mut()[..len].copy_from_slice(written);
        copy.freeze(len)
    }

    /// Unmaps the memory, and gives back the part behind the first `len` bytes.
    fn cut(self, len: usize) -> Result<Arc<OwnedFd>, Error> {
        let ArrayBuffer { mapping, fd } = self;
        assert!(len <= mapping.bytes, "{len} bytes of {}", mapping.bytes);
        // The kernel refuses the seal while a writable mapping is left.
        drop(mapping);
        let bytes = libc::off_t::try_from(len).map_err(|_| Error::TooLarge { bytes: len as u64 })?;
        // Before the seals, which forbid it.
        ftruncate(&fd, bytes).map_err(|errno| Error::system("ftruncate", errno))?;
        Ok(fd)
    }
}

fn seal(fd: &OwnedFd) -> Result<(), Error> {
    fcntl(fd, FcntlArg::F_ADD_SEALS(FROZEN_SEALS)).map_err(|errno| Error::system("fcntl(F_ADD_SEALS)", errno))?;
    Ok(())
}

/// Time in which other processes are expected to unmap the memory: they are at no work, so microseconds are enough.
const UNMAP_TIME: Duration = Duration::from_millis(250);
/// The first pause between two looks; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// Bytes of another process's memory.
///
/// # Errors
/// [`Error::Size`] if some of it is missing. It would be made when it is read, and a machine without memory reports that by SIGBUS.
fn find_bytes(fd: &OwnedFd) -> Result<u64, Error> {
    let stat = fstat(fd).map_err(|errno| Error::system("fstat", errno))?;
    let (found, taken) = (stat.st_size.cast_unsigned(), stat.st_blocks.cast_unsigned().saturating_mul(BLOCK_BYTES));
    if taken < found { Err(Error::Size { found: taken, expected: found }) } else { Ok(found) }
}

/// Unit of `st_blocks`, see [inode(7)](https://man7.org/linux/man-pages/man7/inode.7.html).
const BLOCK_BYTES: u64 = 512;

/// Shared memory that nobody can write, in any process.
#[derive(Debug)]
pub struct FrozenArray {
    mapping: Mapping,
    fd: Arc<OwnedFd>,
    is_sealed: bool,
}

impl FrozenArray {
    /// Maps memory that another process has sealed.
    ///
    /// # Errors
    /// [`Error::Seals`] if it could still be written or change its size, [`Error::Size`] if a part of it takes no memory yet, and
    /// [`Error::System`].
    pub fn open(fd: OwnedFd) -> Result<FrozenArray, Error> {
        let found = fcntl(&fd, FcntlArg::F_GET_SEALS).map_err(|errno| Error::system("fcntl(F_GET_SEALS)", errno))?;
        if !SealFlag::from_bits_retain(found).contains(FROZEN_SEALS) {
            return Err(Error::Seals { found, expected: FROZEN_SEALS.bits() });
        }
        find_bytes(&fd)?;
        FrozenArray::map(fd, true)
    }

    /// Maps a file, or memory with seals that do not matter.
    ///
    /// # Safety
    /// Nobody may write the file, or change its size, while the value lives in any process.
    ///
    /// # Errors
    /// [`Error::System`].
    pub unsafe fn map_file(file: File) -> Result<FrozenArray, Error> {
        FrozenArray::map(file.into(), false)
    }

    /// Memory of so many bytes that this process has sealed.
    fn map_sealed(fd: Arc<OwnedFd>, bytes: usize) -> Result<FrozenArray, Error> {
        let mapping = Mapping::new(fd.as_fd(), bytes, Access::ReadOnly)?;
        Ok(FrozenArray { mapping, fd, is_sealed: true })
    }

    fn map(fd: OwnedFd, is_sealed: bool) -> Result<FrozenArray, Error> {
        let found = fstat(&fd).map_err(|errno| Error::system("fstat", errno))?.st_size.cast_unsigned();
        let bytes = usize::try_from(found).map_err(|_| Error::TooLarge { bytes: found })?;
        let mapping = Mapping::new(fd.as_fd(), bytes, Access::ReadOnly)?;
        Ok(FrozenArray { mapping, fd: Arc::new(fd), is_sealed })
    }

    /// True if the kernel keeps everybody from writing it; false of a mapped file.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Takes the pages out of this process's resident memory. They stay where they are, and come back when they are read.
    pub fn forget_pages(&self) {
        if self.mapping.bytes > 0 {
            // SAFETY: the pages are of a file that nobody writes, so they come back as they were.
            let _ = unsafe { madvise(self.mapping.base.cast(), self.mapping.bytes, MmapAdvise::MADV_DONTNEED) };
        }
    }

    /// The bytes, in pages: aligned for every plain type.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY:
        // - the mapping has as many bytes, and lives as long as `self`;
        // - nobody writes them: the seals forbid it, or `map_file`'s caller has promised it.
        unsafe { slice::from_raw_parts(self.mapping.base.as_ptr(), self.mapping.bytes) }
    }

    /// The descriptor, for sending it to another process.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives the memory another size, and takes new pages from the kernel now: a machine without memory would report that by
/// SIGBUS at the first touch of a page.
fn resize(fd: &OwnedFd, from: usize, to: usize) -> Result<(), Error> {
    // Past this limit the kernel does not refuse, it kills (SIGXFSZ).
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(|errno| Error::system("getrlimit", errno))?;
    if to as u64 > limit {
        return Err(Error::FileLimit { needed: to as u64, limit });
    }
    let too_large = |_| Error::TooLarge { bytes: to as u64 };
    let (start, end) = (libc::off_t::try_from(from).map_err(too_large)?, libc::off_t::try_from(to).map_err(too_large)?);
    if end == start {
        return Ok(());
    }
    check_available((to - from) as u64)?;
    large_pages::make(fd, from..to);
    loop {
        match fallocate(fd, FallocateFlags::empty(), start, end - start) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                // A part may have been taken.
                let _ = ftruncate(fd, start);
                return Err(Error::system("fallocate", errno));
            }
        }
    }
}

/// Bytes that are taken without asking how much the machine has.
const UNASKED_BYTES: u64 = 64 << 20;

/// Refuses more memory than the machine has: the kernel would take page after page, and then kill some process.
fn check_available(bytes: u64) -> Result<(), Error> {
    if bytes <= UNASKED_BYTES {
        return Ok(());
    }
    // Where /proc is not mounted, nothing can be known.
    let Ok(text) = fs::read_to_string("/proc/meminfo") else { return Ok(()) };
    match available_bytes(&text) {
        Some(available) if bytes > available => Err(Error::Memory { needed: bytes, available }),
        _ => Ok(()),
    }
}

/// Memory that programs can still take without swapping, and by swapping: see `MemAvailable` in
/// [proc_meminfo(5)](https://man7.org/linux/man-pages/man5/proc_meminfo.5.html).
fn available_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((kibibytes("MemAvailable:")? + kibibytes("SwapFree:").unwrap_or(0)) << 10)
}

#[cfg(test)]
mod tests;
