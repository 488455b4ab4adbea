//! A machine with larger pages than this one, as far as a program can tell: the C library reports pages of the size that is
//! asked for, and offsets and addresses that are no multiples of it are refused, as such a machine's kernel would do.
//!
//! The functions here stand in for the C library's in this program and in its workers, which are the same executable.

use std::ffi::CStr;
use std::io;
use std::ptr;

use libc::{c_int, c_long, c_void, off64_t, size_t};
use nix::errno::Errno;

/// The variable that says how many bytes a page has.
pub(crate) const PAGE_BYTES: &str = "PRETENDED_PAGE_BYTES";

/// Without the variable, the machine as it is.
fn page_bytes() -> usize {
    // SAFETY:
    // - the name ends with a zero;
    // - nobody changes the environment while there are other threads.
    let value = unsafe { libc::getenv(c"PRETENDED_PAGE_BYTES".as_ptr()) };
    if value.is_null() {
        return 4096;
    }
    // SAFETY:
    // - it is there and ends with a zero.
    let digits = unsafe { CStr::from_ptr(value) }.to_bytes();
    // Neither allocates nor locks: this may be called before `main`, and in a copy of a process.
    digits.iter().fold(0, |bytes, digit| 10 * bytes + usize::from(digit - b'0'))
}

unsafe extern "C" {
    fn __sysconf(name: c_int) -> c_long;
}

/// See sysconf(3).
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    // SAFETY:
    // - the C library's own function, by its other name.
    if name == libc::_SC_PAGESIZE { page_bytes() as c_long } else { unsafe { __sysconf(name) } }
}

fn refuse() -> c_int {
    Errno::EINVAL.set();
    -1
}

/// See mmap(2): new memory begins at the start of a page.
#[unsafe(no_mangle)]
extern "C" fn mmap64(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off64_t,
) -> *mut c_void {
    let page = page_bytes();
    if !(offset as usize).is_multiple_of(page) || !address.addr().is_multiple_of(page) {
        refuse();
        return libc::MAP_FAILED;
    }
    let map = |address: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off64_t| {
        // SAFETY:
        // - the caller's promise, for the place that the caller names or nobody has.
        let at = unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, fd, offset) };
        if at == -1 { libc::MAP_FAILED } else { ptr::with_exposed_provenance_mut(at as usize) }
    };
    if flags & libc::MAP_FIXED != 0 {
        return map(address, length, protection, flags, fd, offset);
    }
    // To whole pages of the machine as it is.
    let length = length.next_multiple_of(4096);
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let reserved = map(ptr::null_mut(), length + page, libc::PROT_NONE, private, -1, 0);
    if reserved == libc::MAP_FAILED {
        return reserved;
    }
    let before = reserved.addr().next_multiple_of(page) - reserved.addr();
    let start = reserved.wrapping_byte_add(before);
    // SAFETY:
    // - a part of the range that has just been reserved, before the part that is asked for.
    unsafe { libc::munmap(reserved, before) };
    let end = start.wrapping_byte_add(length);
    // SAFETY:
    // - likewise, behind that.
    unsafe { libc::munmap(end, page - before) };
    map(start, length, protection, flags | libc::MAP_FIXED, fd, offset)
}

/// See madvise(2).
#[unsafe(no_mangle)]
extern "C" fn madvise(address: *mut c_void, length: size_t, advice: c_int) -> c_int {
    if !address.addr().is_multiple_of(page_bytes()) {
        return refuse();
    }
    // SAFETY:
    // - the caller's promise.
    unsafe { libc::syscall(libc::SYS_madvise, address, length, advice) as c_int }
}

/// This program does ask the functions above.
pub(crate) fn check() {
    let page: usize = std::env::var(PAGE_BYTES).expect("it says how large pages are").parse().expect("a number");
    assert_eq!(pool_ipc::sys::page_bytes(), page);
    // SAFETY:
    // - no memory is touched.
    let mapped = unsafe { libc::mmap64(ptr::null_mut(), 1, libc::PROT_READ, libc::MAP_SHARED, 0, 4096) };
    assert_eq!(mapped, libc::MAP_FAILED);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
}
