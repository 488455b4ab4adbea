//! Output of another process, kept in memory. Unlike a pipe it has no end that a left-over process could hold open.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Keeps all bytes that are written to it.
#[derive(Debug)]
pub struct Capture(File);

impl Capture {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it makes a file")]
    pub fn new() -> Capture {
        Capture(memfd_create(c"captured", MFdFlags::MFD_CLOEXEC).expect("a file in memory").into())
    }

    /// For a process that is to write to it.
    pub fn stdio(&self) -> Stdio {
        self.0.try_clone().expect("a descriptor").into()
    }

    /// Has this process's own standard error go there.
    pub fn become_stderr(&self) {
        nix::unistd::dup2_stderr(&self.0).expect("a descriptor");
    }

    /// The bytes written so far.
    pub fn text(&self) -> String {
        let length = self.0.metadata().expect("a file's length").len();
        let mut bytes = vec![0; length as usize];
        self.0.read_exact_at(&mut bytes, 0).expect("the file is as long as that");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
