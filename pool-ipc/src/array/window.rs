//! The parts of an array that a process writes for its owner.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::slice;

use nix::sys::stat::fstat;

use super::mapping::{LARGE_PAGE_BYTES, Mapping, round_up};
use crate::error::Error;
use crate::sys::page_bytes;

/// The memory of another process's [`ArrayBuffer`](super::ArrayBuffer), of which this process writes parts.
///
/// A part is mapped when it is first shown, and stays mapped until [`unmap`](ArrayWindow::unmap): the kernel takes longer to map a page
/// and to unmap it than most work on its bytes takes. Large pages are mapped whole, so the first and the last one of a part may show
/// bytes of the parts beside it.
#[derive(Debug)]
pub struct ArrayWindow {
    fd: OwnedFd,
    /// Addresses for the memory, or for a range of it: only the parts are mapped there.
    space: Mapping,
    /// Position of the first address in the memory.
    start: usize,
    /// The mapped ranges of the memory, each by its start and its end. No two touch.
    mapped: BTreeMap<usize, usize>,
    /// The part to be written.
    part: Range<usize>,
}

/// The most ranges that are mapped at a time: the kernel allows a process 65,530 mappings (`vm.max_map_count`).
const RANGES_MAX: usize = if cfg!(test) { 4 } else { 4096 };

impl ArrayWindow {
    /// Nothing of it is mapped yet.
    pub fn new(fd: OwnedFd) -> ArrayWindow {
        ArrayWindow { fd, space: Mapping::default(), start: 0, mapped: BTreeMap::new(), part: 0..0 }
    }

    /// Makes these bytes of the memory those of [`bytes_mut`](ArrayWindow::bytes_mut).
    ///
    /// # Safety
    /// Nobody else reads or writes these bytes until they are [hidden](ArrayWindow::hide).
    ///
    /// # Errors
    /// [`Error::Size`] if the memory is smaller, and [`Error::System`]. Nothing is mapped then.
    pub unsafe fn show(&mut self, bytes: Range<usize>) -> Result<(), Error> {
        // The kernel maps from page to page.
        let pages = bytes.start - bytes.start % page_bytes()..round_up(bytes.end)?;
        // Known without the kernel, since a part that is shown again is the common case.
        if !bytes.is_empty() && !self.is_mapped(&pages) {
            self.map(&bytes, pages).inspect_err(|_| self.unmap())?;
        }
        self.part = bytes;
        Ok(())
    }

    /// The bytes that are shown.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.part.is_empty() {
            return &mut [];
        }
        // SAFETY: the part lies within the addresses.
        let first = unsafe { self.space.base.as_ptr().add(self.part.start - self.start) };
        // SAFETY:
        // - `show` has mapped as many bytes there, of memory that its maker has zeroed, and they stay until `unmap`;
        // - nobody else uses these bytes, by the promise of `show`'s caller, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(first, self.part.len()) }
    }

    /// Shows no bytes any more. They stay mapped.
    pub fn hide(&mut self) {
        self.part = 0..0;
    }

    /// Shows no bytes any more, and takes down all that is mapped.
    pub fn unmap(&mut self) {
        self.hide();
        // The range goes as a whole: one system call, however many parts are mapped in it.
        self.space = Mapping::default();
        self.mapped.clear();
    }

    fn is_mapped(&self, pages: &Range<usize>) -> bool {
        self.mapped.range(..=pages.start).next_back().is_some_and(|(_, end)| *end >= pages.end)
    }

    fn map(&mut self, bytes: &Range<usize>, mut pages: Range<usize>) -> Result<(), Error> {
        // Only before something is mapped: the owner does not shrink memory that it has lent.
        let found = fstat(&self.fd).map_err(|errno| Error::system("fstat", errno))?.st_size.cast_unsigned();
        if bytes.end as u64 > found {
            return Err(Error::Size { found, expected: bytes.end as u64 });
        }
        let all = round_up(usize::try_from(found).unwrap_or(usize::MAX))?;
        // A large page can be mapped only as a whole. Where there are none, workers map more than their parts, and seldom again.
        let large = pages.start - pages.start % LARGE_PAGE_BYTES..pages.end.next_multiple_of(LARGE_PAGE_BYTES);
        if large.start + LARGE_PAGE_BYTES <= all {
            pages.start = large.start;
        }
        if large.end <= all {
            pages.end = large.end;
        }
        // The memory may have grown since.
        let has_place = self.start <= pages.start && pages.end - self.start <= self.space.bytes;
        if !has_place || self.mapped.len() == RANGES_MAX {
            self.unmap();
            self.start = 0;
            // Under a limit on addresses there may be none for all of it.
            self.space = Mapping::reserve(all).or_else(|_| {
                self.start = pages.start;
                Mapping::reserve(pages.len())
            })?;
        }
        // All of its pages, also those that are mapped already: they are those that it shares with its neighbours, and few.
        self.space.show(self.fd.as_fd(), pages.start - self.start..pages.end - self.start, pages.start)?;
        self.note(pages);
        Ok(())
    }

    /// Notes that these pages are mapped.
    fn note(&mut self, mut pages: Range<usize>) {
        // Ranges that touch become one, as the kernel's do.
        while let Some((&start, &end)) =
            self.mapped.range(..=pages.end).next_back().filter(|(_, end)| **end >= pages.start)
        {
            self.mapped.remove(&start);
            pages = pages.start.min(start)..pages.end.max(end);
        }
        self.mapped.insert(pages.start, pages.end);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ArrayBuffer;
    use super::*;

    fn window(buffer: &ArrayBuffer) -> ArrayWindow {
        ArrayWindow::new(buffer.descriptor().try_clone().unwrap())
    }

    /// Fills the part by the window, and checks that the owner finds it there and nowhere else.
    #[track_caller]
    fn check_part(window: &mut ArrayWindow, buffer: &mut ArrayBuffer, bytes: Range<usize>) {
        // SAFETY: nobody uses the memory meanwhile.
        unsafe { window.show(bytes.clone()) }.unwrap();
        assert_eq!(window.bytes_mut().len(), bytes.len());
        window.bytes_mut().fill(7);
        let written = buffer.bytes().iter().enumerate().filter(|(_, byte)| **byte == 7).map(|(at, _)| at);
        assert!(written.eq(bytes.clone()));
        buffer.bytes_mut()[bytes].fill(0);
    }

    #[test]
    fn a_window_shows_its_part_and_no_more() {
        let page = page_bytes();
        let mut buffer = ArrayBuffer::with_capacity(9 * page).unwrap();
        let mut window = window(&buffer);
        for bytes in [page - 3..page + 5, 4 * page..5 * page, 0..1, 5 * page..5 * page, 2 * page..8 * page + 1] {
            check_part(&mut window, &mut buffer, bytes.clone());
            // It is mapped now, so the kernel is not asked.
            check_part(&mut window, &mut buffer, bytes);
        }
        assert_eq!(window.mapped, BTreeMap::from([(0, 9 * page)]));
        let past = buffer.capacity() - 1..buffer.capacity() + 1;
        // SAFETY: as above.
        assert!(matches!(unsafe { window.show(past) }, Err(Error::Size { .. })));
        assert!(window.bytes_mut().is_empty() && window.mapped.is_empty());
        buffer.grow(20 * page).unwrap();
        check_part(&mut window, &mut buffer, 19 * page..20 * page);
    }

    #[test]
    fn what_is_mapped_is_unmapped_before_the_memory_is_frozen() {
        let mut buffer = ArrayBuffer::with_capacity(3 * page_bytes()).unwrap();
        let mut window = window(&buffer);
        check_part(&mut window, &mut buffer, 5..6);
        check_part(&mut window, &mut buffer, 2 * page_bytes()..2 * page_bytes() + 1);
        window.unmap();
        check_part(&mut window, &mut buffer, 5..6);
        drop(window);
        buffer.freeze(1).unwrap();
    }

    #[test]
    fn mapped_ranges_are_few() {
        let mut buffer = ArrayBuffer::with_capacity((2 * RANGES_MAX + 1) * LARGE_PAGE_BYTES).unwrap();
        let mut window = window(&buffer);
        for at in 0..=RANGES_MAX {
            // SAFETY: nobody uses the memory meanwhile.
            unsafe { window.show(2 * at * LARGE_PAGE_BYTES..2 * at * LARGE_PAGE_BYTES + 1) }.unwrap();
        }
        assert_eq!(window.mapped.len(), 1);
        check_part(&mut window, &mut buffer, 0..1);
    }

    #[test]
    fn large_pages_are_mapped_whole_within_the_memory() {
        let bytes = 3 * LARGE_PAGE_BYTES + 2 * page_bytes();
        let mut buffer = ArrayBuffer::with_capacity(bytes).unwrap();
        let mut window = window(&buffer);
        check_part(&mut window, &mut buffer, LARGE_PAGE_BYTES + 5..LARGE_PAGE_BYTES + 6);
        assert_eq!(window.mapped, BTreeMap::from([(LARGE_PAGE_BYTES, 2 * LARGE_PAGE_BYTES)]));
        check_part(&mut window, &mut buffer, bytes - 1..bytes);
        assert_eq!(window.mapped.last_key_value(), Some((&(bytes - page_bytes()), &bytes)));
        check_part(&mut window, &mut buffer, LARGE_PAGE_BYTES - 1..LARGE_PAGE_BYTES + 1);
        assert_eq!(window.mapped.len(), 2);
    }
}
