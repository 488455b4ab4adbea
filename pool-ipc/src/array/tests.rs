//! Memory of arrays: made, frozen, opened, given away.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;

use super::*;
use crate::sys::page_bytes;

#[test]
fn memory_grows_and_keeps_its_contents() {
    let mut buffer = ArrayBuffer::with_capacity(1).unwrap();
    let before = buffer.capacity();
    buffer.bytes_mut().fill(7);
    buffer.grow(before * 5 + 1).unwrap();
    assert_eq!(buffer.capacity(), before * 6);
    assert!(buffer.bytes()[..before].iter().all(|byte| *byte == 7));
    assert!(buffer.bytes()[before..].iter().all(|byte| *byte == 0));
    buffer.grow(1).unwrap();
    assert_eq!(buffer.capacity(), before * 6, "memory does not shrink");
}

#[test]
fn frozen_memory_cannot_be_written_by_anybody() {
    let mut buffer = ArrayBuffer::with_capacity(100).unwrap();
    buffer.bytes_mut()[..3].copy_from_slice(b"abc");
    let frozen = buffer.freeze(3).unwrap();
    assert_eq!(frozen.bytes(), b"abc");
    let path = format!("/proc/self/fd/{}", frozen.as_fd().as_raw_fd());
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(file.set_len(100).unwrap_err().raw_os_error(), Some(libc::EPERM));
    let again = FrozenArray::open(frozen.as_fd().try_clone_to_owned().unwrap()).unwrap();
    drop(frozen);
    assert_eq!(again.bytes(), b"abc");
    // A large page that is cut takes as much memory as it still has bytes.
    let mut buffer = ArrayBuffer::with_capacity(4 << 20).unwrap();
    buffer.bytes_mut().fill(7);
    let frozen = buffer.freeze((3 << 20) + 1).unwrap();
    let again = FrozenArray::open(frozen.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert!(again.bytes().len() == (3 << 20) + 1 && again.bytes().iter().all(|byte| *byte == 7));
}

#[test]
fn memory_that_another_maps_writable_is_not_frozen() {
    let buffer = ArrayBuffer::with_capacity(100).unwrap();
    let other = Mapping::new(buffer.fd.as_fd(), buffer.capacity(), Access::ReadWrite).unwrap();
    let error = buffer.freeze(100).unwrap_err();
    assert!(matches!(&error, Error::System { source, .. } if source.raw_os_error() == Some(libc::EBUSY)), "{error}");
    drop(other);
}

#[test]
fn memory_that_could_be_written_is_not_opened() {
    let buffer = ArrayBuffer::with_capacity(100).unwrap();
    assert!(matches!(FrozenArray::open(buffer.descriptor().try_clone().unwrap()), Err(Error::Seals { .. })));
}

#[test]
fn memory_that_is_given_away_is_taken_whole_or_not_at_all() {
    let mut buffer = ArrayBuffer::with_capacity(100).unwrap();
    buffer.bytes_mut()[..3].copy_from_slice(b"abc");
    let fd = buffer.descriptor();
    assert_eq!(Arc::strong_count(&fd), 2);
    drop(buffer);
    let fd = Arc::into_inner(fd).expect("nobody else has it");
    assert!(matches!(ArrayBuffer::adopt(fd.try_clone().unwrap(), page_bytes() + 1), Err(Error::Size { .. })));
    let adopted = ArrayBuffer::adopt(fd, 3).unwrap();
    assert_eq!(adopted.bytes()[..3], *b"abc");
    let large = ArrayBuffer::with_capacity(5 << 20).unwrap();
    assert_eq!(ArrayBuffer::adopt(large.descriptor().try_clone().unwrap(), 5 << 20).unwrap().capacity(), 5 << 20);
    // A part that takes no memory could be missing when it is touched.
    let sparse = create_empty(c"sparse").unwrap();
    ftruncate(&sparse, 1 << 20).unwrap();
    assert!(matches!(ArrayBuffer::adopt(sparse, 3), Err(Error::Size { .. })));
    let sparse = create_empty(c"sparse").unwrap();
    ftruncate(&sparse, 1 << 40).unwrap();
    seal(&sparse).unwrap();
    assert!(matches!(FrozenArray::open(sparse), Err(Error::Size { .. })));
    let frozen = ArrayBuffer::with_capacity(3).unwrap().freeze(3).unwrap();
    assert!(ArrayBuffer::adopt(frozen.as_fd().try_clone_to_owned().unwrap(), 3).is_err(), "it is sealed");
}

#[test]
fn memory_that_was_moved_away_is_written_by_its_owner_alone() {
    let mut buffer = ArrayBuffer::with_capacity(100).unwrap();
    buffer.bytes_mut()[..3].copy_from_slice(b"abc");
    let mut window = ArrayWindow::new(buffer.descriptor().try_clone().unwrap());
    // SAFETY: nobody uses these bytes: the buffer's are others from the next line on.
    unsafe { window.show(0..3) }.unwrap();
    buffer.move_away().unwrap();
    window.bytes_mut().fill(b'x');
    assert_eq!(buffer.bytes()[..3], *b"abc");
    assert_eq!(buffer.freeze(3).unwrap().bytes(), b"abc");
}

#[test]
fn nothing_is_an_array_too() {
    let frozen = ArrayBuffer::with_capacity(0).unwrap().freeze(0).unwrap();
    assert!(frozen.bytes().is_empty());
    assert!(FrozenArray::open(frozen.as_fd().try_clone_to_owned().unwrap()).unwrap().bytes().is_empty());
}

#[test]
fn memory_that_nobody_has_is_an_error() {
    assert!(ArrayBuffer::with_capacity(usize::MAX).is_err());
    assert!(matches!(ArrayBuffer::with_capacity(1 << 60), Err(Error::Memory { .. })));
}

#[test]
fn the_memory_that_is_left_is_known() {
    let text = "MemTotal:       24683536 kB\nMemAvailable:         3 kB\nSwapFree:              1 kB\n";
    assert_eq!(available_bytes(text), Some(4096));
    assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
}
