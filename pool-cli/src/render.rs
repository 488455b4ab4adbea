//! Output for people and for other programs: checksum lines, complaints, tables, colours.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// ---- checksums -----------------------------------------------------------------------------------------------------

/// Appends the line that `sha256sum` prints for the file.
///
/// Names are raw bytes. A name with a newline, a carriage return or a backslash is escaped, which a backslash at the
/// start of the line tells the reader; see "md5sum invocation" in the manual of coreutils.
pub(crate) fn push_checksum(out: &mut Vec<u8>, sum: &[u8], path: &Path) {
    let name = path.as_os_str().as_bytes();
    if name.iter().any(|&byte| escape(byte).is_some()) {
        out.push(b'\\');
    }
    for byte in sum {
        out.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    out.extend_from_slice(b"  ");
    push_escaped(out, name);
    out.push(b'\n');
}

fn push_escaped(out: &mut Vec<u8>, name: &[u8]) {
    for byte in name {
        match escape(*byte) {
            Some(escaped) => out.extend_from_slice(escaped),
            None => out.push(*byte),
        }
    }
}

fn escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'\n' => Some(b"\\n"),
        b'\r' => Some(b"\\r"),
        b'\\' => Some(b"\\\\"),
        _ => None,
    }
}

// ---- complaints ----------------------------------------------------------------------------------------------------

/// Writes a complaint to standard error. If that fails, there is nobody to tell.
pub(crate) fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "pool-cli: {what}");
}

/// Writes a complaint about the path to standard error, in one line even if its name has several.
pub(crate) fn complain_of(path: &Path, reason: &str) {
    let mut line = b"pool-cli: ".to_vec();
    push_escaped(&mut line, path.as_os_str().as_bytes());
    line.extend_from_slice(b": ");
    push_escaped(&mut line, reason.as_bytes());
    line.push(b'\n');
    let _ = io::stderr().write_all(&line);
}

/// The text of the error as other tools print it, without the error's number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

// ---- tables --------------------------------------------------------------------------------------------------------

/// Columns aligned to the left, two blanks between them, and none at the ends of lines.
pub(crate) fn table<const N: usize>(headings: &[String; N], rows: &[[String; N]]) -> String {
    let lines = || std::iter::once(headings).chain(rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines() {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

// ---- colours -------------------------------------------------------------------------------------------------------

/// Colours for standard output, if it is a terminal and nobody objects (<https://no-color.org>).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_on: bool,
}

/// How a text looks; the numbers are those of `console_codes(4)`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
}

impl Paint {
    pub(crate) fn for_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == OsStr::new("dumb"));
        Paint { is_on: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// No colours, even if the tests write to a terminal.
    #[cfg(test)]
    pub(crate) fn off() -> Self {
        Paint { is_on: false }
    }

    pub(crate) fn text(self, style: Style, text: impl fmt::Display) -> String {
        if self.is_on { format!("\x1b[{}m{text}\x1b[0m", style as u8) } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(name: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        push_checksum(&mut line, &[0x01, 0xab], Path::new(OsStr::from_bytes(name)));
        line
    }

    #[test]
    fn a_plain_name_stands_as_it_is() {
        assert_eq!(checksum(b"a b\t\xff*"), b"01ab  a b\t\xff*\n");
    }

    #[test]
    fn an_escaped_name_begins_with_a_backslash() {
        assert_eq!(checksum(b"a\nb"), b"\\01ab  a\\nb\n");
        assert_eq!(checksum(b"\r"), b"\\01ab  \\r\n");
        assert_eq!(checksum(b"\\n"), b"\\01ab  \\\\n\n");
    }

    #[test]
    fn a_reason_has_no_number() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(reason(&error), "No such file or directory");
        assert_eq!(reason(&io::Error::other("odd")), "odd");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(table(&row("A", "B"), &[row("long", "x"), row("é", "")]), "A     B\nlong  x\né\n");
    }

    #[test]
    fn paint_that_is_off_leaves_no_trace() {
        assert_eq!(Paint::off().text(Style::Red, "x"), "x");
        assert_eq!(Paint { is_on: true }.text(Style::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
