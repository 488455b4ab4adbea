//! Directories full of files, gone when the test is over.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory of a test.
#[derive(Debug)]
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// An empty one; `name` is the test's own.
    pub(crate) fn new(name: &str) -> Tree {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        // Left by an earlier test of the same process number that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the directory for tests can be written");
        Tree(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Adds a file, and the directories on the way to it.
    pub(crate) fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(OsStr::from_bytes(name.as_ref()));
        fs::create_dir_all(path.parent().expect("it is below the tree")).expect("directories can be made");
        fs::write(&path, content).expect("files can be written");
        path
    }

    /// Adds so many small files, in directories of a hundred.
    pub(crate) fn files(&self, count: usize) {
        for number in 0..count {
            self.file(format!("{:03}/{number:05}.txt", number / 100), format!("{number}\n").repeat(number % 50));
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
