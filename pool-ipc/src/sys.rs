//! The few system calls that nix lacks, thin and typed.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::fcntl::{FcntlArg, fcntl};

/// Gives way to other threads that could run on this CPU. By the same door as the futex requests: `sched_yield` of the C library
/// is in another page, and a thread that has just slept finds each page cold.
///
/// See [sched_yield(2)](https://man7.org/linux/man-pages/man2/sched_yield.2.html). Expected: no error.
#[inline]
pub(crate) fn sched_yield() {
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_sched_yield) };
    debug_assert_eq!(result, 0);
}

/// Bytes of a memory page. See [sysconf(3)](https://man7.org/linux/man-pages/man3/sysconf.3.html).
pub fn page_bytes() -> usize {
    // SAFETY: no pointers; the call only answers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("the page size is always known")
}

/// A file descriptor for the process `pid`, which stays valid when the number is used again. Close-on-exec.
///
/// See [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html).
///
/// # Errors
/// `ESRCH` (no such process), `EINVAL` (not a pid), `EMFILE`, `ENFILE`, `ENODEV`, `ENOMEM`; `ENOSYS` before Linux 5.3.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("file descriptors are ints");
    // SAFETY: the kernel has just made this descriptor, so nothing else owns it.
    off_standard_streams(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Moves a descriptor off the numbers of the standard streams. A process that has closed some of those gets their numbers
/// for the next descriptors that it opens, and its output would go there, for instance into shared memory.
///
/// # Errors
/// `EMFILE`: no other number is free.
pub fn off_standard_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    // A program that was started with a standard stream closed gets that number for the next descriptor it opens.
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1))?;
    // SAFETY: the kernel has just made this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends `signal` to the process of `pidfd`; 0 only asks whether that would be possible.
///
/// See [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html).
///
/// # Errors
/// `ESRCH` (it has ended and was waited for), `EINVAL` (not a signal), `EPERM`, `EBADF`; `ENOSYS` before Linux 5.1.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `info` asks the kernel to fill it in as for kill(2).
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the same clock in all processes of a machine.
///
/// See [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html). Expected: no error.
#[inline]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(result, 0);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
