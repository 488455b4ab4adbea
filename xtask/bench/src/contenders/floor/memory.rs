//! Memory that forked processes share, and how they wait for each other in it.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, ptr, slice};

/// Zeroed memory that children inherit, and do not copy.
pub(super) struct Shared {
    address: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and all access to it is atomic, or by turns that bells agree upon.
unsafe impl Send for Shared {}

impl Shared {
    pub(super) fn new(len: usize) -> io::Result<Shared> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: a new mapping, where the kernel likes.
        let address = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Shared { address: address.cast(), len })
    }

    /// Words, some bytes from the start.
    pub(super) fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let start = self.part::<u64>(offset, count).cast();
        // SAFETY: aligned, within the mapping, which lives as long as self; all access to such parts is atomic.
        unsafe { slice::from_raw_parts(start, count) }
    }

    /// A value that lives at that offset.
    pub(super) fn at<T: InSharedMemory>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: within the mapping, see above.
        let start = unsafe { self.address.add(offset) };
        // SAFETY: aligned, within the mapping, which lives as long as self; zeroes are such a value, and it is shared by atomics only.
        unsafe { &*start.cast::<T>() }
    }

    /// Copies numbers or bytes in.
    pub(super) fn write<T: Copy>(&self, offset: usize, values: &[T]) {
        let to = self.part(offset, values.len());
        // SAFETY: private memory does not overlap the mapping; the bells decide which side uses this part.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) }
    }

    /// Copies numbers or bytes out, appending them.
    pub(super) fn read<T: Copy>(&self, offset: usize, count: usize, to: &mut Vec<T>) {
        let from = self.part(offset, count);
        // SAFETY: nobody writes it meanwhile: the bells decide which side uses this part.
        to.extend_from_slice(unsafe { slice::from_raw_parts(from, count) });
    }

    /// Copies bytes from one part to another behind it.
    pub(super) fn copy(&self, from: usize, to: usize, count: usize) {
        assert!(from + count <= to);
        let (from, to) = (self.part::<u8>(from, count), self.part::<u8>(to, count));
        // SAFETY: the parts do not overlap, see above; the bells decide which side uses them.
        unsafe { ptr::copy_nonoverlapping(from, to, count) }
    }

    /// Writes a function of each number of one part into another behind it.
    pub(super) fn map(&self, from: usize, to: usize, count: usize, function: impl Fn(u64) -> u64) {
        assert!(from + count * 8 <= to);
        let (from, to) = (self.part::<u64>(from, count), self.part::<u64>(to, count));
        // SAFETY: nobody writes it meanwhile: the bells decide which side uses these parts.
        let from = unsafe { slice::from_raw_parts(from, count) };
        // SAFETY: as above, and the parts do not overlap.
        let to = unsafe { slice::from_raw_parts_mut(to, count) };
        for (result, &argument) in to.iter_mut().zip(from) {
            *result = function(argument);
        }
    }

    /// Has a function change numbers in place.
    pub(super) fn with_part<T: Copy, R>(&self, offset: usize, count: usize, body: impl FnOnce(&mut [T]) -> R) -> R {
        let part = self.part(offset, count);
        // SAFETY: nobody else uses it meanwhile: the bells and the common counter decide which process does.
        body(unsafe { slice::from_raw_parts_mut(part, count) })
    }

    /// Gives the pages of a part back to the kernel; the next to touch it gets fresh ones.
    pub(super) fn empty(&self, offset: usize, bytes: usize) {
        const PAGE: usize = 4096;
        let start: *mut u8 = self.part(offset.next_multiple_of(PAGE), bytes / PAGE * PAGE);
        // SAFETY: whole pages of our own mapping, and nobody needs their bytes any more.
        let _ = unsafe { libc::madvise(start.cast(), bytes / PAGE * PAGE, libc::MADV_REMOVE) };
    }

    fn part<T: Copy>(&self, offset: usize, count: usize) -> *mut T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + count * size_of::<T>() <= self.len);
        // SAFETY: within the mapping, see above.
        unsafe { self.address.add(offset) }.cast()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nobody has a reference into it any more.
        let _ = unsafe { libc::munmap(self.address.cast(), self.len) };
    }
}

/// Types that may live in memory that others write.
///
/// # Safety
///
/// Zeroes are a value of it, and it consists of atomics.
pub(super) unsafe trait InSharedMemory {}

/// A number that one side raises and the other waits for, as the pool's own do: some looks, 20 µs of giving way, then sleep.
#[repr(C, align(128))]
pub(super) struct Bell {
    rung: AtomicU32,
    sleeping: AtomicU32,
}

// SAFETY: two atomic numbers.
unsafe impl InSharedMemory for Bell {}

impl Bell {
    /// One more.
    pub(super) fn ring(&self) {
        // Sequentially consistent, as the sleeper's two: either it sees the number, or we see that it sleeps.
        self.rung.fetch_add(1, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) != 0 {
            futex(&self.rung, libc::FUTEX_WAKE, 1);
        }
    }

    /// Waits until it has been rung so often; asleep at once, or with the pool's patience.
    pub(super) fn wait_for(&self, count: u32, is_patient: bool) {
        let has_rung = || self.rung.load(Ordering::Acquire) == count;
        if is_patient && stay_awake(has_rung) {
            return;
        }
        self.sleeping.store(1, Ordering::SeqCst);
        loop {
            let seen = self.rung.load(Ordering::SeqCst);
            if seen == count {
                break;
            }
            futex(&self.rung, libc::FUTEX_WAIT, seen);
        }
        self.sleeping.store(0, Ordering::Relaxed);
    }
}

/// The pool's patience.
fn stay_awake(ready: impl Fn() -> bool) -> bool {
    for _ in 0..3 {
        if ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(20) {
        std::thread::yield_now();
        if ready() {
            return true;
        }
    }
    false
}

/// Waits without ever sleeping, for streams that go on.
pub(super) fn wait_awake(ready: impl Fn() -> bool) {
    while !stay_awake(&ready) {}
}

fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let no_limit = ptr::null::<libc::timespec>();
    // SAFETY: a valid aligned word, and no timespec.
    let _ = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_limit) };
}
