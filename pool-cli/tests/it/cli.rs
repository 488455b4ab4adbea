//! Runs commands under a watchdog.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No command takes a tenth of this; a machine may be busy, though.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// How often the watchdog looks.
const GLANCE: Duration = Duration::from_millis(5);

/// All commands.
pub(crate) const COMMANDS: &[&str] = &[
    "demo",
    "hash",
    "thumbs",
    "mandelbrot",
    "run",
    #[cfg(feature = "redis")]
    "agent",
    #[cfg(feature = "redis")]
    "cluster",
    "tasks",
    "completions",
    "man",
];

/// `pool-cli` with these arguments, its output piped.
pub(crate) fn pool_cli<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-cli"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Outcome {
    /// The output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("the output is text")
    }

    /// Panics with everything that is known unless the exit code is this one.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Outcome {
        let (status, out, err) = (self.status, String::from_utf8_lossy(&self.out), &self.err);
        assert_eq!(status.code(), Some(code), "{status}\n---- stdout\n{out}\n---- stderr\n{err}");
        self
    }
}

/// Runs the command to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    finish(command.spawn().expect("the command starts"))
}

/// Reads the output of the process until it ends, and kills it if it does not.
pub(crate) fn finish(mut child: Child) -> Outcome {
    let out = child.stdout.take().map(read_all);
    let err = child.stderr.take().map(read_all);
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if begun.elapsed() > WATCHDOG {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            panic!("the command did not end within {WATCHDOG:?}");
        }
        thread::sleep(GLANCE);
    };
    let all =
        |reader: Option<JoinHandle<Vec<u8>>>| reader.map_or_else(Vec::new, |reader| reader.join().expect("it reads"));
    Outcome { status, out: all(out), err: String::from_utf8_lossy(&all(err)).into_owned() }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// The lines that coreutils print for all files below `path`, relative to the directory `at`, in the order of their bytes.
pub(crate) fn sha256sum(at: &Path, path: &str) -> Vec<u8> {
    let script = "find \"$1\" -type f -print0 | LC_ALL=C sort -z | xargs -0 --no-run-if-empty sha256sum --";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", path]).current_dir(at).stdout(Stdio::piped()).stderr(Stdio::piped());
    run(&mut command).expect_code(0).out
}

/// Panics with the first line that differs.
#[track_caller]
pub(crate) fn expect_same(ours: &[u8], theirs: &[u8]) {
    let lines = |text: &[u8]| text.split(|&byte| byte == b'\n').map(|line| line.escape_ascii().to_string()).collect();
    let (our_lines, their_lines): (Vec<String>, Vec<String>) = (lines(ours), lines(theirs));
    for (number, (our, their)) in our_lines.iter().zip(&their_lines).enumerate() {
        assert_eq!(our, their, "line {}", number + 1);
    }
    assert_eq!(our_lines.len(), their_lines.len(), "the shorter one is the beginning of the other");
}
