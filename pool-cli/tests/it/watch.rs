//! `--watch`: a picture of the workers in a terminal, and none elsewhere.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::Instant;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::{WATCHDOG, pool_cli, run};
use crate::tree::Tree;

nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A terminal of some columns, as far as a picture uses one: it breaks long lines, also again when its width changes.
struct Terminal {
    user: File,
    line: OwnedFd,
    columns: usize,
    /// Lines as they were written, the last one without an end.
    lines: Vec<String>,
    /// Bytes that have been read and not been shown.
    pending: Vec<u8>,
    pictures: usize,
}

impl Terminal {
    fn new(rows: u16, columns: u16) -> Terminal {
        let OpenptyResult { master, slave } = openpty(&size(rows, columns), None).unwrap();
        let columns = usize::from(columns);
        let (lines, pending) = (vec![String::new()], Vec::new());
        Terminal { user: master.into(), line: slave, columns, lines, pending, pictures: 0 }
    }

    fn stdio(&self) -> Stdio {
        self.line.try_clone().unwrap().into()
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        // SAFETY:
        // - the size outlives the call.
        unsafe { set_size(self.line.as_raw_fd(), &size(rows, columns)) }.unwrap();
        self.columns = columns.into();
    }

    /// Shows all output that has come so far; false at the end.
    fn show_more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.user.read(&mut bytes) {
            Ok(0) => return false,
            Ok(length) => self.pending.extend(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            // EIO: nobody has the other end any more.
            Err(_) => return false,
        }
        // Whole lines, or the sequence that takes a picture away; both end in one of these.
        while let Some(end) = self.pending.iter().position(|byte| matches!(byte, b'\n' | b'J')) {
            let text: Vec<_> = self.pending.drain(..=end).collect();
            self.show(&String::from_utf8(text).unwrap());
        }
        true
    }

    fn show(&mut self, text: &str) {
        if let Some(rows) = text.strip_prefix("\r\x1b[").and_then(|rest| rest.strip_suffix("A\x1b[J")) {
            let mut rows: usize = rows.parse().unwrap();
            self.lines.pop();
            while rows > 0 {
                let line = self.lines.pop().expect("no line above the screen is taken");
                let taken = self.rows(&line);
                assert!(taken <= rows, "half of a line is left");
                rows -= taken;
            }
            self.lines.push(String::new());
            self.pictures += 1;
            return;
        }
        match text.strip_suffix("\r\n") {
            Some(text) => {
                assert!(!text.contains(['\x1b', '\r']), "{text:?}");
                self.lines.last_mut().unwrap().push_str(text);
                self.lines.push(String::new());
            }
            // A letter of a word.
            None => self.lines.last_mut().unwrap().push_str(text),
        }
    }

    fn rows(&self, line: &str) -> usize {
        line.chars().count().div_ceil(self.columns).max(1)
    }

    /// Shows all output until this holds.
    fn show_until(&mut self, holds: impl Fn(&Terminal) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(self.show_more() && begun.elapsed() < WATCHDOG, "{:?}", self.lines);
        }
    }

    /// The lines that begin so.
    fn count(&self, beginning: &str) -> usize {
        self.lines.iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// True if there is one picture with a line for each of so many workers.
    fn has_picture(&self, workers: usize) -> bool {
        self.count("workers: ") == 1 && (0..workers).all(|worker| self.count(&format!("{worker}  ")) == 1)
    }
}

/// Hashes files that take longer than the test.
fn hash_forever(terminal: &Terminal, tree: &Tree, workers: &str) -> Child {
    for name in ["a", "b", "c"] {
        File::create(tree.path().join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    let mut command = pool_cli(["hash", "--watch", "--workers", workers]);
    command.arg(tree.path()).stdout(Stdio::null()).stderr(terminal.stdio()).spawn().unwrap()
}

fn interrupt(mut child: Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
}

#[test]
fn the_picture_is_tidy_in_terminals_of_any_size_and_when_that_changes() {
    for (rows, columns) in [(24, 100), (40, 30)] {
        let tree = Tree::new("watch-sizes");
        let mut terminal = Terminal::new(rows, columns);
        let child = hash_forever(&terminal, &tree, "3");
        let working = |terminal: &Terminal| terminal.lines.iter().filter(|line| line.contains("working")).count();
        terminal.show_until(|terminal| terminal.pictures > 2 && terminal.has_picture(3) && working(terminal) == 3);
        let fits = |terminal: &Terminal| terminal.lines.iter().all(|line| line.chars().count() < terminal.columns);
        assert!(fits(&terminal), "{:?}", terminal.lines);
        for columns in [20, 60, 11, 200] {
            // Between two pictures: one that is on its way has the old width.
            let process = Pid::from_raw(child.id() as i32);
            kill(process, Signal::SIGSTOP).unwrap();
            terminal.resize(rows, columns);
            kill(process, Signal::SIGCONT).unwrap();
            let pictures = terminal.pictures;
            terminal.show_until(|terminal| terminal.pictures > pictures + 2 && terminal.has_picture(3));
            assert!(fits(&terminal), "{:?}", terminal.lines);
        }
        assert!(terminal.lines.iter().any(|line| line.contains("cmd::hash::sha256 [0]")), "{:?}", terminal.lines);
        interrupt(child);
    }
}

#[test]
fn more_workers_than_lines_are_counted() {
    let tree = Tree::new("watch-low");
    let mut terminal = Terminal::new(8, 80);
    let child = hash_forever(&terminal, &tree, "12");
    terminal.show_until(|terminal| terminal.pictures > 2 && terminal.count("… and 9 more") == 1);
    assert!(terminal.lines.len() < 8, "{:?}", terminal.lines);
    interrupt(child);
}

#[test]
fn the_last_picture_stays_below_the_output() {
    let tree = Tree::new("watch-end");
    for file in 0..300 {
        tree.file(format!("{file:03}"), "text");
    }
    let mut terminal = Terminal::new(24, 200);
    let mut command = pool_cli(["hash", "--watch", "--workers", "2"]);
    let mut child = command.arg(tree.path()).stdout(terminal.stdio()).stderr(terminal.stdio()).spawn().unwrap();
    terminal.show_until(|terminal| terminal.lines.iter().any(|line| line.ends_with(", 300 of 300 files")));
    assert!(child.wait().unwrap().success());
    // Nothing more comes than the rest of the last picture.
    terminal.show_until(|terminal| terminal.lines.last().unwrap().is_empty() && terminal.has_picture(2));
    let sums = terminal.lines.iter().filter(|line| line.contains("watch-end")).count();
    assert_eq!(sums, 300, "{:?}", terminal.lines);
    let picture = terminal.lines.len() - 5;
    assert!(terminal.lines[picture].starts_with("workers: 2, up: "), "{:?}", &terminal.lines[picture..]);
}

#[test]
fn without_a_terminal_there_is_no_picture() {
    let tree = Tree::new("watch-none");
    tree.file("a", "text");
    let outcome = run(pool_cli(["hash", "--watch"]).arg(tree.path())).expect_code(0);
    assert_eq!((outcome.text().lines().count(), outcome.err.as_str()), (1, ""));
}
