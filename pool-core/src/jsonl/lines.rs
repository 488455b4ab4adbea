//! Lines of bounded length.

use std::io::{self, BufRead};

/// Bytes of the longest line. The values of a line take many times its memory while it is read.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// Some programs begin a file of UTF-8 with these bytes, which are no part of its text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lines.
pub(super) struct Lines<'i> {
    input: &'i mut dyn BufRead,
    line: Vec<u8>,
    number: u64,
}

/// A line, without its end.
pub(super) enum Line<'l> {
    Whole(&'l [u8]),
    /// Its bytes were passed over.
    TooLong,
}

impl<'i> Lines<'i> {
    pub(super) fn new(input: &'i mut dyn BufRead) -> Self {
        Lines { input, line: Vec::new(), number: 0 }
    }

    /// The next line and its number, from 1. The last one may lack an end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.line.clear();
        let (mut length, mut has_ended) = (0, false);
        while !has_ended {
            let bytes = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                if length == 0 {
                    return Ok(None);
                }
                break;
            }
            // By blocks of the buffer, since `read_until` would keep a line of any length.
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let read = end.map_or(bytes.len(), |end| end + 1);
            length += read;
            if length <= LINE_BYTES_MAX {
                self.line.extend_from_slice(&bytes[..read]);
            }
            has_ended = end.is_some();
            // Also of a line that is too long: the next one begins behind its end.
            self.input.consume(read);
        }
        self.number += 1;
        if length > LINE_BYTES_MAX {
            return Ok(Some((self.number, Line::TooLong)));
        }
        let line = match self.line.strip_prefix(BYTE_ORDER_MARK) {
            Some(behind) if self.number == 1 => behind,
            _ => &self.line,
        };
        // Trimmed, so that a line of blanks counts as empty, and `\r\n` ends a line, too.
        Ok(Some((self.number, Line::Whole(line.trim_ascii()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut text: &[u8]) -> Vec<(u64, Option<usize>)> {
        let mut lines = Lines::new(&mut text);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            all.push((number, if let Line::Whole(bytes) = line { Some(bytes.len()) } else { None }));
        }
        all
    }

    #[test]
    fn lines_have_numbers_and_need_no_end() {
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\n"), [(1, Some(0))]);
        assert_eq!(all(b"a\r\n\n  bc  \nd"), [(1, Some(1)), (2, Some(0)), (3, Some(2)), (4, Some(1))]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(all(b"\xef\xbb\xbf{}\n"), [(1, Some(2))]);
        // Elsewhere it is no mark but a character, for the parser to refuse.
        assert_eq!(all(b"{}\n\xef\xbb\xbf{}"), [(1, Some(2)), (2, Some(5))]);
    }

    #[test]
    fn a_line_that_is_too_long_takes_no_memory_and_ends_at_its_end() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 1];
        text.extend(b"\nnext");
        assert_eq!(all(&text), [(1, None), (2, Some(4))]);
        text.remove(0);
        text.remove(0);
        assert_eq!(all(&text), [(1, Some(LINE_BYTES_MAX - 1)), (2, Some(4))]);
    }
}
