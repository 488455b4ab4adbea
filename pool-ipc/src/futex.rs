//! A word in shared memory that processes sleep on.

#![allow(unsafe_code)]

use std::time::Duration;
use std::{io, ptr};

use super::sync::{AtomicU32, Ordering};

/// A word that a process can sleep on for as long as it keeps its value.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Futex(AtomicU32);

impl Futex {
    /// The value to hand to [`Futex::wait`]: read it before the last check for news.
    ///
    /// Relaxed: the kernel compares the word again, and news that was published before the notification is read with
    /// orderings of its own.
    #[inline]
    pub(crate) fn heard(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps unless the word has changed from `heard`, until it is notified or the time is up. May also return at a signal, or
    /// without any cause.
    #[inline]
    pub(crate) fn wait(&self, heard: u32, timeout: Option<Duration>) {
        futex_wait(&self.0, heard, timeout);
    }

    /// Changes the word and wakes all that sleep on it. There may be several notifiers, hence `fetch_add`.
    ///
    /// Relaxed: a sleeper that misses the change is in the kernel's queue by then, and the call wakes it.
    #[inline]
    pub(crate) fn notify(&self) {
        // Counted, not set: a notification between the sleeper's last look and its call makes the kernel refuse the sleep.
        self.0.fetch_add(1, Ordering::Relaxed);
        futex_wake(&self.0);
    }
}

/// Sleeps while `*word == expected`, until woken, timed out or interrupted, or without any cause.
///
/// The shared variant (no `FUTEX_PRIVATE_FLAG`), since sleeper and waker are different processes. The page may be mapped
/// read-only. See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAIT`.
///
/// Expected: `EAGAIN` (the word has changed), `EINTR` (a signal), `ETIMEDOUT`. The caller looks again in each case.
#[inline]
fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    // Not FUTEX_PRIVATE_FLAG: the other process has another mapping of the word.
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

/// Wakes all that sleep on `word`. Not only one: any process that can map the page may sleep there, and would take the one
/// wake-up away.
///
/// See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), `FUTEX_WAKE`. Expected: no error.
#[inline]
fn futex_wake(word: &AtomicU32) {
    // SAFETY: `word` is a valid, aligned word for as long as the call takes.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    debug_assert!(result >= 0, "futex wake: {}", io::Error::last_os_error());
}

/// The time for the kernel, or the longest that it takes: the caller looks at its deadline again.
fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    }
}
