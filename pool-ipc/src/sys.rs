//! The few system calls that nix lacks, thin and typed.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};

use super::sync::AtomicU32;

/// Sleeps while `*word == expected`, until woken, timed out or interrupted, or for no reason.
///
/// The shared variant (no `FUTEX_PRIVATE_FLAG`): sleeper and waker are different processes. The page may be mapped
/// read-only. See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAIT`.
///
/// Expected: `EAGAIN` (the word has changed), `EINTR` (a signal), `ETIMEDOUT`. The caller looks again in each case.
#[inline]
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY:
    // - `word` is a valid, aligned word for as long as the call takes;
    // - `timeout` is null or points to a timespec that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, timeout) };
    if result != 0 {
        let error = io::Error::last_os_error();
        let expected = [libc::EAGAIN, libc::EINTR, libc::ETIMEDOUT];
        assert!(error.raw_os_error().is_some_and(|errno| expected.contains(&errno)), "futex wait: {error}");
    }
}

/// Wakes all who sleep on `word`. All, not one: who knows which other process that can map the page sleeps there too,
/// and would take the one wake-up away.
///
/// See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAKE`. Expected: no error.
#[inline]
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: `word` is a valid, aligned word for as long as the call takes.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    debug_assert!(result >= 0, "futex wake: {}", io::Error::last_os_error());
}

/// Gives way to other threads that could run on this CPU. By the same door as the futex requests: `sched_yield` of the C library
/// is in another page, and whoever has just slept finds each page cold.
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

/// A file descriptor that stands for the process `pid`, whatever becomes of the number. Close-on-exec.
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
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    off_standard_streams(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The descriptor under a number that is no standard stream's: a process that has closed some of those gets their
/// numbers for whatever it opens next, and what it prints would go there, into shared memory for one.
///
/// # Errors
/// `EMFILE`: no other number is free.
pub fn off_standard_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1))?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends `signal` to the process that `pidfd` stands for; 0 only asks whether that would be possible.
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

/// The longest time that the kernel takes, for times that are longer still: the caller looks at its deadline again.
fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    }
}
