//! Standard output of tasks, written before their answers are.
//!
//! Two buffers may hold text that is not written yet: Rust's and the C library's. Each has a lock, which a thread that a
//! task has started may keep for ever, and then no answer may wait for it. `std` has no way to try its lock. So a worker
//! that has, or had, more than one thread leaves the flush to a thread made for it, and waits for that one only so long.

#![allow(unsafe_code)]

use std::io::{self, Stdout, Write};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::SigSet;
use pool_ipc::Patience;

/// Flushes both buffers, so that output of a task is on its way before anybody hears that the task is done. Does not
/// wait for long if another thread keeps a buffer's lock.
#[inline]
pub(crate) fn flush() {
    if is_single_threaded() {
        flush_here();
    } else {
        FLUSHER.flush();
    }
}

/// Flushes both buffers in this thread, which waits for Rust's lock: for processes of one thread.
#[inline]
pub(crate) fn flush_here() {
    // Kept, since this comes before every answer, and `stdout` is one more piece of code that is cold after a sleep.
    static OUT: LazyLock<Stdout> = LazyLock::new(io::stdout);
    let _ = (&*OUT).flush();
    if c_has_output() {
        flush_c();
    }
}

// ---- threads ---------------------------------------------------------------------------------------------------------

/// The C library's word on whether this process has always had one thread; null where it has none (before glibc 2.32).
static ALWAYS_SINGLE: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

/// Looks up what [`flush`] needs, for this process and those that it forks; without this a process is taken for one of
/// many threads. Text that constructors have left in the buffers is written here, once, and not by each worker.
pub(crate) fn prepare() {
    if ALWAYS_SINGLE.load(Ordering::Relaxed).is_null() {
        // SAFETY:
        // - the name ends with a zero.
        let word = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
        ALWAYS_SINGLE.store(word.cast(), Ordering::Relaxed);
        if is_single_threaded() {
            flush_here();
        }
    }
}

#[inline]
fn is_single_threaded() -> bool {
    let word = ALWAYS_SINGLE.load(Ordering::Relaxed);
    // SAFETY:
    // - it is null or the address of the C library's variable, a `char`, which lives as long as the process;
    // - the C library writes it when a thread is made, in the only thread that there is then.
    unsafe { word.as_ref() }.is_some_and(|word| word.load(Ordering::Relaxed) != 0)
}

// ---- the C library's buffer ------------------------------------------------------------------------------------------

unsafe extern "C" {
    /// The C library's variable, which a program may set.
    #[link_name = "stdout"]
    static C_STDOUT: AtomicPtr<libc::FILE>;
    /// Bytes that wait in the buffer, see stdio_ext(3).
    fn __fpending(stream: *mut libc::FILE) -> usize;
    /// See flockfile(3).
    fn ftrylockfile(stream: *mut libc::FILE) -> libc::c_int;
    fn funlockfile(stream: *mut libc::FILE);
}

#[inline]
fn c_stdout() -> *mut libc::FILE {
    // SAFETY:
    // - the C library's variable is a pointer.
    unsafe { &C_STDOUT }.load(Ordering::Relaxed)
}

#[inline]
fn c_has_output() -> bool {
    let stream = c_stdout();
    // SAFETY:
    // - it is a stream. Another thread may be writing to it; then what is read is the state before or after.
    !stream.is_null() && unsafe { __fpending(stream) } > 0
}

/// Does nothing if another thread has the lock: that one is printing.
#[cold]
fn flush_c() {
    let stream = c_stdout();
    // SAFETY:
    // - it is a stream.
    if unsafe { ftrylockfile(stream) } == 0 {
        // SAFETY:
        // - as above; this thread has its lock.
        unsafe { libc::fflush(stream) };
        // SAFETY:
        // - as above.
        unsafe { funlockfile(stream) };
    }
}

// ---- workers with threads --------------------------------------------------------------------------------------------

/// Time in which a flush is through, even on a busy machine, unless a lock is kept or nobody reads what is written. An
/// answer waits no longer than this, and the next ones not at all until the flush is through.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// Stack of the thread that flushes.
const STACK_BYTES: usize = 64 << 10;

static FLUSHER: Flusher = Flusher {
    has_thread: AtomicBool::new(false),
    is_late: AtomicBool::new(false),
    asked: AtomicU32::new(0),
    done: AtomicU32::new(0),
    sleep: Mutex::new(()),
    has_work: Condvar::new(),
    is_done: Condvar::new(),
};

/// A thread that flushes for the thread that answers.
struct Flusher {
    has_thread: AtomicBool,
    /// The last flush was not through in time.
    is_late: AtomicBool,
    /// The number of the last flush that was asked for. Only the thread that answers writes it.
    asked: AtomicU32,
    /// The number of the last flush that is through. Only the thread that flushes writes it.
    done: AtomicU32,
    /// For going to sleep; never held while something is flushed.
    sleep: Mutex<()>,
    has_work: Condvar,
    is_done: Condvar,
}

impl Flusher {
    #[cold]
    fn flush(&'static self) {
        if !self.has_thread.load(Ordering::Relaxed) && !self.start() {
            // Nothing else is certain to return. The text stays in the buffer until a later flush.
            return;
        }
        let number = self.asked.load(Ordering::Relaxed).wrapping_add(1);
        let is_done = || self.done.load(Ordering::Acquire) == number;
        let was_done = self.done.load(Ordering::Relaxed).wrapping_add(1) == number;
        {
            let _guard = self.lock();
            self.asked.store(number, Ordering::Release);
        }
        if self.is_late.load(Ordering::Relaxed) && !was_done {
            return; // it goes on to this flush by itself
        }
        self.has_work.notify_one();
        if !Patience::default().wait(is_done) {
            let waited = self.is_done.wait_timeout_while(self.lock(), FLUSH_TIMEOUT, |()| !is_done());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        self.is_late.store(!is_done(), Ordering::Relaxed);
    }

    fn start(&'static self) -> bool {
        let body = || {
            // Signals are for the task's threads.
            let _ = SigSet::all().thread_block();
            self.serve()
        };
        let started = thread::Builder::new().name("pool-output".to_owned()).stack_size(STACK_BYTES).spawn(body);
        self.has_thread.store(started.is_ok(), Ordering::Relaxed);
        started.is_ok()
    }

    fn serve(&self) -> ! {
        let mut done = self.done.load(Ordering::Relaxed);
        loop {
            let has_work = || self.asked.load(Ordering::Acquire) != done;
            if !Patience::default().wait(has_work) {
                let slept = self.has_work.wait_while(self.lock(), |()| !has_work());
                drop(slept.unwrap_or_else(PoisonError::into_inner));
            }
            done = self.asked.load(Ordering::Acquire);
            let _ = io::stdout().flush();
            if c_has_output() {
                // SAFETY:
                // - it is a stream. This waits for its lock.
                unsafe { libc::fflush(c_stdout()) };
            }
            self.done.store(done, Ordering::Release);
            drop(self.lock());
            self.is_done.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
