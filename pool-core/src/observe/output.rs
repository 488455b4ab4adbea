//! Lines that worker processes print.

use std::borrow::Cow;
use std::fmt;

use super::splitter::Splitter;
use crate::worker::position::Worker;

/// A line that a process of the pool has printed; for [`PoolBuilder::on_output`](crate::PoolBuilder::on_output).
///
/// `Display` writes its text.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use pool_core::prelude::*;
/// use pool_core::OutputStream;
///
/// #[pool_task]
/// fn complain() { eprintln!("it is dark"); std::process::abort() }
///
/// # fn main() -> pool_core::Result<()> {
/// let (lines, printed) = mpsc::channel();
/// let pool = Pool::builder().workers(1).on_output(move |line| lines.send(line).unwrap()).build()?;
/// pool.apply(complain::Task, ()).unwrap_err();
/// let line = printed.recv().unwrap();
/// assert_eq!((line.text().as_ref(), line.stream), ("it is dark", OutputStream::Stderr));
/// assert_eq!(line.worker.map(|worker| worker.id()), Some(0));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLine {
    /// The worker, or a program that one of its tasks has started. `None`: a `preload`, whatever the start method; the fork server, in
    /// which constructors of the program may print; or the pool itself, see `dropped`.
    pub worker: Option<Worker>,
    /// The stream to which it was printed.
    pub stream: OutputStream,
    /// The bytes of the line, without its end. They may be any, such as invalid UTF-8 and zeroes.
    pub bytes: Vec<u8>,
    /// How it ends.
    pub end: LineEnd,
    /// The number of lines of any worker that were dropped at this place, since the listener had not returned for a second.
    /// Where it is not 0, the line is not a worker's: its text says the same.
    pub dropped: u64,
}

impl OutputLine {
    /// The line as text, with `U+FFFD` in place of bytes that are not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl fmt::Display for OutputLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

/// A stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The end of an [`OutputLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LineEnd {
    /// An end of line.
    Newline,
    /// The line is longer than 64 KiB, and the next line of this stream of this worker is its continuation.
    Cut,
    /// The process ended before the line did.
    Missing,
}

/// Bytes of a line, at most.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// Cuts one stream of one process into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    worker: Option<Worker>,
    stream: OutputStream,
    /// The beginning of a line.
    partial: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(worker: Option<Worker>, stream: OutputStream) -> Self {
        Lines { worker, stream, partial: Vec::new() }
    }

    fn take(&mut self, end: LineEnd) -> OutputLine {
        // Given away with its memory, since most lines come in one piece.
        let bytes = std::mem::take(&mut self.partial);
        OutputLine { worker: self.worker, stream: self.stream, bytes, end, dropped: 0 }
    }
}

impl Splitter for Lines {
    type Item = OutputLine;

    fn feed(&mut self, mut bytes: &[u8], pass_on: &mut dyn FnMut(OutputLine)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.partial.len();
            // One more than there is room for: it may be the end of the line.
            let newline = bytes.iter().take(room + 1).position(|&byte| byte == b'\n');
            let length = newline.unwrap_or(room.min(bytes.len()));
            self.partial.extend_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            if newline.is_some() {
                bytes = &bytes[1..];
                pass_on(self.take(LineEnd::Newline));
            } else if let Some(&next) = bytes.first() {
                // Between two characters, so that both pieces are text if the line is.
                let rest = self.partial.split_off(character_end(&self.partial, next));
                pass_on(self.take(LineEnd::Cut));
                self.partial = rest;
            }
        }
    }

    fn end(&mut self, pass_on: &mut dyn FnMut(OutputLine)) {
        if !self.partial.is_empty() {
            pass_on(self.take(LineEnd::Missing));
        }
    }

    fn bytes_of(line: &OutputLine) -> usize {
        size_of::<OutputLine>() + line.bytes.len()
    }

    fn dropped(count: u64) -> OutputLine {
        let bytes = format!("{count} lines dropped here: the listener had not returned for a second").into_bytes();
        OutputLine { worker: None, stream: OutputStream::Stderr, bytes, end: LineEnd::Newline, dropped: count }
    }
}

/// The end of the last whole character of a piece that `next` follows, or of the piece if that is no UTF-8.
fn character_end(piece: &[u8], next: u8) -> usize {
    let is_inner = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let first = |at: &usize| !is_inner(piece[*at]);
    let end = piece.len();
    if is_inner(next) { (end.saturating_sub(3)..end).rev().find(first).unwrap_or(end) } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these bytes, which come in pieces of this size.
    fn lines(bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, LineEnd)> {
        let mut lines = Lines::new(None, OutputStream::Stdout);
        let mut found = Vec::new();
        let mut pass_on = |line: OutputLine| found.push((line.bytes, line.end));
        bytes.chunks(piece).for_each(|piece| lines.feed(piece, &mut pass_on));
        lines.end(&mut pass_on);
        found
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        for piece in 1..10 {
            let found = lines(b"a\n\nb\0\xff\nc", piece);
            let expected = [&b"a"[..], b"", b"b\0\xff", b"c"].map(<[u8]>::to_vec);
            assert_eq!(found.iter().map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>(), expected);
            assert_eq!(found[3].1, LineEnd::Missing);
            assert!(found[..3].iter().all(|(_, end)| *end == LineEnd::Newline));
        }
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters_and_loses_nothing() {
        let line = "aü".repeat(LINE_BYTES_MAX);
        for piece in [1000, 4096, LINE_BYTES_MAX, usize::MAX] {
            let found = lines(line.as_bytes(), piece);
            assert!(found.iter().all(|(bytes, _)| str::from_utf8(bytes).is_ok() && bytes.len() <= LINE_BYTES_MAX));
            let is_cut = |(_, end): &&(Vec<u8>, LineEnd)| *end == LineEnd::Cut;
            assert_eq!(found.iter().filter(is_cut).count(), found.len() - 1);
            assert_eq!(found.into_iter().flat_map(|(bytes, _)| bytes).collect::<Vec<_>>(), line.as_bytes());
        }
    }

    #[test]
    fn a_line_of_just_the_greatest_length_is_not_cut() {
        for piece in [1000, LINE_BYTES_MAX, usize::MAX] {
            let bytes = [&vec![b'x'; LINE_BYTES_MAX][..], b"\n"].concat();
            let found = lines(&bytes, piece);
            assert!(matches!(&found[..], [(line, LineEnd::Newline)] if line.len() == LINE_BYTES_MAX));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_at_the_bound() {
        let found = lines(&[0x80; 2 * LINE_BYTES_MAX], 5000);
        assert_eq!(found.iter().map(|(bytes, _)| bytes.len()).collect::<Vec<_>>(), [LINE_BYTES_MAX; 2]);
    }
}
