//! The files below some paths, as `find PATH… -type f` lists them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file to be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// As it is to be shown.
    pub(crate) path: PathBuf,
    /// Where to open it, if not at `path`.
    target: Option<PathBuf>,
    /// Its size when it was found.
    pub(crate) bytes: u64,
}

impl Found {
    /// Where another process can open it.
    pub(crate) fn location(&self) -> &Path {
        self.target.as_deref().unwrap_or(&self.path)
    }
}

/// The files that were found, and the paths that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Sorted by the bytes of the path.
    pub(crate) files: Vec<Found>,
    /// In the order in which they came.
    pub(crate) failures: Vec<(PathBuf, io::Error)>,
    /// An entry below a directory that is neither a file, a directory nor a link: opening a FIFO waits for a writer.
    pub(crate) special: Vec<PathBuf>,
}

/// The error of a path that cannot be read whole, such as a FIFO or a device.
pub(crate) fn special() -> io::Error {
    io::Error::other("neither a file nor a directory")
}

impl Walk {
    /// Looks through all the paths. One that is given twice is there twice.
    pub(crate) fn through(paths: &[PathBuf]) -> Walk {
        let mut walk = Walk::default();
        for path in paths {
            if let Err(error) = walk.start(path) {
                walk.failures.push((path.clone(), error));
            }
        }
        // Not the order of `Path`, which compares component by component: `a.c` comes before `a/b`.
        walk.files.sort_by(|one, other| one.path.as_os_str().as_bytes().cmp(other.path.as_os_str().as_bytes()));
        walk
    }

    fn start(&mut self, path: &Path) -> io::Result<()> {
        if path == Path::new("-") {
            return Err(io::Error::other("standard input is not read here; write ./- for a file of that name"));
        }
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            self.descend(path.to_owned());
        } else if metadata.is_file() {
            // A link such as /dev/stdin means something else in every process, so it is followed in this one.
            let target = if path.is_symlink() { Some(fs::canonicalize(path)?) } else { None };
            self.found(path.to_owned(), target, &metadata);
        } else {
            return Err(special());
        }
        Ok(())
    }

    /// Looks through a directory with a list of its own instead of recursion, so that no depth overflows the stack.
    fn descend(&mut self, top: PathBuf) {
        let mut directories = vec![top];
        while let Some(directory) = directories.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    self.failures.push((directory, error));
                    continue;
                }
            };
            for entry in entries {
                match entry {
                    Ok(entry) => self.visit(&entry, &mut directories),
                    // Reading on would fail again, and might do so for ever.
                    Err(error) => {
                        self.failures.push((directory, error));
                        break;
                    }
                }
            }
        }
    }

    fn visit(&mut self, entry: &fs::DirEntry, directories: &mut Vec<PathBuf>) {
        let path = entry.path();
        // Neither of the two follows a symbolic link.
        let looked_at = entry.file_type().and_then(|kind| {
            if kind.is_dir() {
                directories.push(path.clone());
            } else if kind.is_file() {
                self.found(path.clone(), None, &entry.metadata()?);
            } else if !kind.is_symlink() {
                self.special.push(path.clone());
            }
            Ok(())
        });
        if let Err(error) = looked_at {
            self.failures.push((path, error));
        }
    }

    fn found(&mut self, path: PathBuf, target: Option<PathBuf>, metadata: &Metadata) {
        self.files.push(Found { path, target, bytes: metadata.len() });
    }
}
