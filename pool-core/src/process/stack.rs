//! The stack of the current thread: the bytes that are left, and a larger stack for code that needs more.
//!
//! A stack overflow ends the whole program, so code that recurses as deep as its input, or that holds values of any size, asks
//! here first.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

/// Bytes that count as left on a stack that the C library does not know, such as a coroutine's.
pub(crate) const UNKNOWN_STACK_BYTES: usize = 64 << 10;

thread_local! {
    /// Addresses of this thread's stack; empty before the first question.
    static STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The stack pointer. The address of a local variable is no substitute: AddressSanitizer keeps locals on the heap.
#[inline(always)]
pub(crate) fn pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY:
    // - the instruction copies one register to another and touches nothing else.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY:
    // - the instruction copies one register to another and touches nothing else.
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let here = 0_u8;
        pointer = std::ptr::from_ref(std::hint::black_box(&here)).addr();
    }
    pointer
}

/// Bytes of the stack below the current frame.
#[inline]
pub(crate) fn left() -> usize {
    let here = pointer();
    let (low, high) = STACK.get();
    if (low..high).contains(&here) { here - low } else { ask(here) }
}

/// [`left`] at the first question of a thread, and on a stack that the C library does not know.
#[cold]
fn ask(here: usize) -> usize {
    let stack = thread_stack().unwrap_or(0..0);
    STACK.set((stack.start, stack.end));
    if stack.contains(&here) { here - stack.start } else { UNKNOWN_STACK_BYTES }
}

/// The addresses of the stack that this thread was started with, without its guard pages. The C library knows the main
/// thread's from its resource limit and the mappings around it, so it may fail where there is no `/proc`.
fn thread_stack() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY:
    // - `pthread_self` has no preconditions.
    let this_thread = unsafe { libc::pthread_self() };
    // SAFETY:
    // - the thread is the current one, which exists;
    // - the attributes are writable and need not be initialized.
    if unsafe { libc::pthread_getattr_np(this_thread, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut start, mut bytes, mut guard_bytes) = (std::ptr::null_mut(), 0, 0);
    // SAFETY:
    // - the attributes have been initialized, and the places are writable.
    let known = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut bytes) } == 0;
    // SAFETY:
    // - the attributes have been initialized, and the place is writable.
    let guarded = unsafe { libc::pthread_attr_getguardsize(attributes.as_ptr(), &raw mut guard_bytes) } == 0;
    // SAFETY:
    // - the attributes have been initialized, and are not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    // Older C libraries count the guard pages as part of the stack, so they are left out in any case.
    (known && guarded).then(|| start.addr() + guard_bytes..start.addr() + bytes)
}

/// Runs `body` with at least `bytes` bytes of stack: here if they are left, else in a thread that lives as long as the call.
///
/// # Errors
///
/// The error of a thread that cannot be started.
pub(crate) fn with_room<R: Send>(bytes: usize, body: impl FnOnce() -> R + Send) -> io::Result<R> {
    let (mut body, mut result) = (Some(body), None);
    run_with_room(bytes, &mut || result = body.take().map(|body| body()))?;
    Ok(result.expect("the body has run"))
}

/// The same for all types, since the code that starts a thread is long.
fn run_with_room(bytes: usize, body: &mut (dyn FnMut() + Send)) -> io::Result<()> {
    // The usual case: a thread takes some tens of microseconds to start.
    if left() >= bytes {
        on_frame_of_its_own(body);
        return Ok(());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(bytes.saturating_add(MARGIN_BYTES));
        let running = thread.spawn_scoped(scope, || on_frame_of_its_own(body))?;
        running.join().or_else(|payload| resume_unwind(payload))
    })
}

/// Bytes of stack that a thread uses before its body runs.
const MARGIN_BYTES: usize = 64 << 10;

/// Keeps the locals of `body` out of the caller's frame, which exists before the stack is checked.
#[inline(never)]
fn on_frame_of_its_own(body: &mut (dyn FnMut() + Send)) {
    body();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_thread_of<R: Send + 'static>(bytes: usize, body: impl FnOnce() -> R + Send + 'static) -> R {
        thread::Builder::new().stack_size(bytes).spawn(body).expect("a thread can be started").join().expect("no panic")
    }

    #[test]
    fn a_thread_knows_what_is_left_of_its_stack() {
        for bytes in [64 << 10, 128 << 10, 1 << 20, 8 << 20] {
            // The C library has its own data there, and it may hand out the larger stack of an earlier thread.
            let left = in_thread_of(bytes, || {
                let before = left();
                use_up(before * 3 / 4);
                before
            });
            assert!(left >= bytes / 4, "{left} of {bytes}");
        }
    }

    /// Takes so many bytes of stack and more, which must be there.
    fn use_up(bytes: usize) {
        let frame = std::hint::black_box([0_u8; 1024]);
        if let Some(rest) = bytes.checked_sub(2 * size_of_val(&frame)) {
            use_up(rest);
        }
        std::hint::black_box(&frame);
    }

    #[test]
    fn frames_take_of_what_is_left() {
        #[inline(never)]
        fn deeper() -> usize {
            let frame = [0_u8; 4096];
            std::hint::black_box(&frame);
            left()
        }
        assert!(left() - deeper() >= 4096);
    }

    #[test]
    fn room_is_made_where_there_is_none() {
        let large = || std::hint::black_box([1_u8; 1 << 20]).iter().map(|&byte| u32::from(byte)).sum::<u32>();
        assert_eq!(in_thread_of(128 << 10, move || with_room(4 << 20, large)).expect("a thread"), 1 << 20);
        let here = thread::current().id();
        assert_eq!(with_room(16 << 10, || thread::current().id()).expect("no thread"), here);
        assert!(with_room(usize::MAX / 2, || ()).is_err());
    }

    #[test]
    fn a_stack_that_the_c_library_does_not_know_counts_as_small() {
        let inside = pointer();
        assert_eq!(ask(inside.wrapping_add(1 << 40)), UNKNOWN_STACK_BYTES);
        assert!(ask(inside) > UNKNOWN_STACK_BYTES);
    }
}
