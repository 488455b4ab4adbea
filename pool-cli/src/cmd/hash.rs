//! `hash`: a parallel `sha256sum`.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Stdout, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pool_core::{ErrorKind, Pool, Task, pool_task};
use sha2::{Digest, Sha256};

use super::ending::{Failure, Verdict, builder, concerns_one_file};
use crate::args::Machines;
use crate::render;
use crate::walk::{self, Found, Walk};
use crate::watch::Watch;

/// The SHA-256 of the file, or why there is none.
#[pool_task]
fn sha256(path: &Path) -> Result<[u8; 32], String> {
    digest(path).map_err(|error| render::reason(&error))
}

/// Bytes read at once: enough to make system calls cheap, and little enough to stay in a CPU's nearest cache.
const BUFFER: usize = 32 << 10;

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = [0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn run(
    paths: &[PathBuf],
    machines: &Machines,
    workers: Option<usize>,
    trace: Option<&Path>,
    watch: &Watch,
) -> Result<Verdict, Failure> {
    let pool = machines.have(builder(workers, "hash", trace)?)?.build()?;
    watch.beside(&pool, || hash(paths, machines, &pool, watch))
}

fn hash(paths: &[PathBuf], machines: &Machines, pool: &Pool, watch: &Watch) -> Result<Verdict, Failure> {
    let Walk { files, mut failures, special } = Walk::through(paths);
    failures.extend(special.into_iter().map(|path| (path, walk::special())));
    let mut screen = Screen::new(&files, watch);
    for (path, error) in &failures {
        screen.complain_of(path, &render::reason(error));
    }
    // One file at a time: a large one may follow a thousand small ones, and nothing shall wait behind it.
    let task = sha256::Task.chunk_size(1);
    let locations: Vec<_> = files.iter().map(|file| machines.path(file.location())).collect();
    let mut sums = pool.imap(task, locations.iter().map(AsRef::as_ref))?;
    for file in &files {
        let sum = match sums.next_timeout(Duration::ZERO) {
            // Nothing else is due, so messages that have been held back are shown.
            Some(Err(error)) if error.kind() == ErrorKind::Timeout => {
                screen.flush()?;
                sums.next()
            }
            sum => sum,
        };
        match sum.expect("each file has a result") {
            Ok(Ok(sum)) => screen.checksum(&sum, &file.path)?,
            Ok(Err(reason)) => screen.complain_of(&file.path, &reason),
            Err(error) if concerns_one_file(error.kind()) => screen.complain_of(&file.path, &error.to_string()),
            Err(error) => return Err(error.into()),
        }
        screen.advance(file);
    }
    screen.flush()?;
    Ok(Verdict::all_well_if(screen.complaints == 0))
}

/// Checksums on standard output, complaints on standard error, and between them the bar, if standard error is a terminal, or the
/// picture of the workers.
struct Screen<'w> {
    out: Stdout,
    /// Lines that have not been written.
    held: Vec<u8>,
    /// Standard output shares the terminal with the bar or the picture.
    shares_terminal: bool,
    bar: ProgressBar,
    watch: &'w Watch,
    complaints: u64,
    /// Files that are done, well or not.
    done: usize,
    files: usize,
}

/// Bytes of lines held back before they are written: some hundred lines for one system call.
const HELD_MAX: usize = 32 << 10;

/// How often the bar is drawn even if nothing has changed: its clock shall run while a large file is read.
const TICK: Duration = Duration::from_millis(200);

impl<'w> Screen<'w> {
    fn new(files: &[Found], watch: &'w Watch) -> Self {
        let bar = if watch.leaves_room_for_bar() { bar(files) } else { ProgressBar::hidden() };
        let out = io::stdout();
        let shares_terminal = io::stderr().is_terminal() && out.is_terminal();
        Screen { out, held: Vec::new(), shares_terminal, bar, watch, complaints: 0, done: 0, files: files.len() }
    }

    fn checksum(&mut self, sum: &[u8], path: &Path) -> io::Result<()> {
        render::push_checksum(&mut self.held, sum, path);
        if self.held.len() < HELD_MAX { Ok(()) } else { self.flush() }
    }

    fn complain_of(&mut self, path: &Path, reason: &str) {
        self.complaints += 1;
        self.watch.suspend_with(&self.bar, || render::complain_of(path, reason));
    }

    fn advance(&mut self, file: &Found) {
        self.done += 1;
        self.watch.note(|| format!("{} of {} files", self.done, self.files));
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{} of {} files", self.done, self.files));
            self.bar.inc(file.bytes);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut write = || self.out.write_all(&self.held).and_then(|()| self.out.flush());
        if self.shares_terminal { self.watch.suspend_with(&self.bar, write) } else { write() }?;
        self.held.clear();
        Ok(())
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(files: &[Found]) -> ProgressBar {
    let bytes = files.iter().map(|file| file.bytes).sum();
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    // Without an estimate of the time left: it would be wrong by much, as a file counts only when it is done.
    let template = "{elapsed:>4} [{wide_bar}] {bytes} of {total_bytes}, {msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("it is written above").progress_chars("=> "));
    bar.set_message(format!("0 of {} files", files.len()));
    bar.enable_steady_tick(TICK);
    bar
}
