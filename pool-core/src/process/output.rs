//! Flushes the standard output of tasks before their replies are published.
//!
//! Two buffers may hold text that is not written yet: Rust's, of which `std` writes whole lines at once, and the C
//! library's. Each has a lock, which a thread that a task has started may keep for ever, and no reply may wait for it. The C
//! library's lock can be tried, Rust's cannot. So a worker that has, or had, more than one thread leaves Rust's buffer to a
//! thread made for it. It does not wait for that thread, since a hand-over with each reply would cost more than a short call.

#![allow(unsafe_code)]

use std::io::{self, Stdout, Write};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use nix::sys::signal::SigSet;

use crate::process::standing;

/// Flushes the output of a task; call it before its reply is published. In a worker with threads, text in Rust's buffer that is
/// no whole line is written some time later.
#[inline]
pub(crate) fn flush() {
    if is_single_threaded() {
        flush_here();
    } else {
        flush_amid_threads();
    }
}

#[cold]
fn flush_amid_threads() -> u32 {
    // The output of a host is its own matter, and so are its buffers. And a process that will be copied must not have the thread
    // that flushes.
    if standing::is_thread() || IS_DEFERRED.load(Ordering::Relaxed) {
        return 0;
    }
    if c_has_output() {
        flush_c();
    }
    FLUSHER.ask()
}

/// [`flush`] before the process ends. Waits a bounded time for the text that is written later.
pub(crate) fn flush_at_end() {
    if is_single_threaded() {
        return flush_here();
    }
    let number = flush_amid_threads();
    for _ in 0..END_PAUSES_MAX {
        if FLUSHER.done.load(Ordering::Acquire) == number {
            return;
        }
        thread::sleep(PAUSE);
    }
}

static IS_DEFERRED: AtomicBool = AtomicBool::new(false);

/// From now on, or no longer, [`flush`] does nothing in this process as soon as it has had threads.
pub(crate) fn defer(is_deferred: bool) {
    IS_DEFERRED.store(is_deferred, Ordering::Relaxed);
}

/// Flushes both buffers in this thread, which waits for Rust's lock: for processes of one thread.
#[inline]
pub(crate) fn flush_here() {
    // Kept in a static: `stdout()` before each reply would be one more piece of code that is cold after a sleep.
    static OUT: LazyLock<Stdout> = LazyLock::new(io::stdout);
    let _ = (&*OUT).flush();
    if c_has_output() {
        flush_c();
    }
}

// ---- threads ---------------------------------------------------------------------------------------------------------

/// The C library's variable that says whether this process has always had one thread; null before glibc 2.32.
static ALWAYS_SINGLE: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

/// Prepares [`flush`] in this process and those that it forks. Without this, flushes assume other threads. Text that
/// constructors have left in the buffers is written here once, and not again by each worker.
///
/// If the output `is_heard` by the host, C writes each line when it is whole, as `std` does, and not only when a buffer is full: so
/// the lines that come before a crash are heard.
pub(crate) fn prepare(is_heard: bool) {
    if is_heard && !c_stdout().is_null() {
        // SAFETY:
        // - it is a stream, and without a buffer of ours it keeps its own, with the text in it.
        unsafe { libc::setvbuf(c_stdout(), std::ptr::null_mut(), libc::_IOLBF, 0) };
    }
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
    // - it is a stream. If another thread is writing to it, the state before or after is read.
    !stream.is_null() && unsafe { __fpending(stream) } > 0
}

/// Flushes the C library's buffer unless another thread holds its lock: that thread is printing, and flushes itself.
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

/// Pause between two flushes, so that a stream of short calls does not wake the thread for each.
const PAUSE: Duration = Duration::from_millis(1);

/// The most pauses before the process ends, a tenth of a second together: enough for a flush even on a busy machine, unless a
/// lock is kept or the output is not read.
const END_PAUSES_MAX: u32 = 100;

/// Stack of the thread that flushes.
const STACK_BYTES: usize = 64 << 10;

static FLUSHER: Flusher = Flusher {
    thread: OnceLock::new(),
    asked: AtomicU32::new(0),
    done: AtomicU32::new(0),
    is_asleep: AtomicBool::new(false),
};

/// A thread that flushes for the one that replies.
struct Flusher {
    thread: OnceLock<Thread>,
    /// Number of the last flush that was asked for. Only the thread that replies writes it.
    asked: AtomicU32,
    /// Number of the last flush that is done. Only the thread that flushes writes it.
    done: AtomicU32,
    is_asleep: AtomicBool,
}

impl Flusher {
    /// Asks for a flush, and returns its number.
    fn ask(&'static self) -> u32 {
        let number = self.asked.load(Ordering::Relaxed).wrapping_add(1);
        // SYNC FLUSH, with `serve`: ask, then look for a sleeper. SeqCst on all four accesses, so either the thread finds this
        // number, or it is found asleep here. No loom model: `park` and `unpark` keep a token, as std's own tests check.
        self.asked.store(number, Ordering::SeqCst);
        match self.thread.get() {
            Some(thread) if self.is_asleep.load(Ordering::SeqCst) => thread.unpark(),
            Some(_) => {}
            None => self.start(),
        }
        number
    }

    /// Starts the thread. If that fails, the text stays in the buffer, and the next reply tries again.
    #[cold]
    fn start(&'static self) {
        let body = || {
            // Blocked here, so that the task's threads get them.
            let _ = SigSet::all().thread_block();
            self.serve()
        };
        let thread = thread::Builder::new().name("pool-output".to_owned()).stack_size(STACK_BYTES);
        if let Ok(started) = thread.spawn(body) {
            let _ = self.thread.set(started.thread().clone());
        }
    }

    fn serve(&self) -> ! {
        let mut done = 0;
        loop {
            // SYNC FLUSH, with `ask`: announce, then look for a new number.
            self.is_asleep.store(true, Ordering::SeqCst);
            while self.asked.load(Ordering::SeqCst) == done {
                thread::park();
            }
            self.is_asleep.store(false, Ordering::SeqCst);
            done = self.asked.load(Ordering::Acquire);
            let _ = io::stdout().flush();
            if c_has_output() {
                // SAFETY:
                // - it is a stream. This waits for its lock.
                unsafe { libc::fflush(c_stdout()) };
            }
            self.done.store(done, Ordering::Release);
            thread::sleep(PAUSE);
        }
    }
}
