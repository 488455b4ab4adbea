//! Files that are there as a whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes the file under another name beside its place, and then gives it its own. The directories on the way are made.
///
/// Only a regular file is replaced: root would else put a file in the place of a device, such as `/dev/null`.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))?;
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let text = "is no regular file, and only those are replaced";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // The process in the name: two programs may write the same file at once.
    let mut part = OsString::from(".");
    part.push(name);
    part.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(part);
    let written =
        File::create(&part).and_then(|mut file| file.write_all(content)).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // Nothing is left behind; the first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_where_that_fails() {
        let top = std::env::temp_dir().join(format!("pool-cli-file-{}", std::process::id()));
        let file = top.join("a/b/file");
        for content in [b"one".as_slice(), b"two"] {
            write_atomically(&file, content).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content);
        }
        // A directory cannot be replaced by a file, and a link or a device shall not be.
        let link = top.join("a/b/link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        for other in [&top.join("a/b"), &link] {
            assert_eq!(write_atomically(other, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{other:?}");
        }
        assert!(link.is_symlink());
        assert!(write_atomically(&file.join("c"), b"").is_err());
        let left: Vec<_> = fs::read_dir(top.join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
        fs::remove_dir_all(top).unwrap();
    }
}
