//! The images below a directory, and the places of their thumbnails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cmd::ending::Failure;
use crate::walk::{self, Walk};

/// An image, and its thumbnail.
#[derive(Debug)]
pub(super) struct File {
    /// Where workers find it.
    pub(super) source: PathBuf,
    /// As it is shown: below the directory.
    pub(super) name: PathBuf,
    pub(super) target: PathBuf,
}

/// The work to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) files: Vec<File>,
    /// Paths that could not be read.
    pub(super) failures: Vec<(PathBuf, io::Error)>,
}

impl Plan {
    /// Looks through the directory.
    ///
    /// # Errors
    ///
    /// One of the directories cannot be, or thumbnails would take the places of images.
    pub(super) fn new(dir: &Path, out: &Path) -> Result<Plan, Failure> {
        let of = |path: &Path| {
            let path = path.to_owned();
            |error| Failure::Path(path, error)
        };
        let dir_path = fs::canonicalize(dir).map_err(of(dir))?;
        if !dir_path.is_dir() {
            return Err(Failure::Path(dir.to_owned(), io::ErrorKind::NotADirectory.into()));
        }
        fs::create_dir_all(out).map_err(of(out))?;
        let out_path = fs::canonicalize(out).map_err(of(out))?;
        if dir_path.starts_with(&out_path) {
            return Err(Failure::Usage(format!(
                "thumbnails in {} would take the places of images: --out must not hold the directory with the images",
                out.display()
            )));
        }
        let Walk { files, mut failures, special } = Walk::through(std::slice::from_ref(&dir_path));
        let is_image = |path: &Path| {
            let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
            // An output of an earlier run may be below the directory.
            ["png", "jpg", "jpeg"].iter().any(|known| extension == *known) && !path.starts_with(&out_path)
        };
        // Anything else of another name is no image, as a file of that name is none.
        let special = special.into_iter().filter(|path| is_image(path));
        failures.extend(special.map(|path| (path, walk::special())));
        let files = files.into_iter().filter(|found| is_image(&found.path)).map(|found| {
            let name = found.path.strip_prefix(&dir_path).unwrap_or(&found.path).to_owned();
            File { target: out_path.join(&name), source: found.path, name }
        });
        Ok(Plan { files: files.collect(), failures })
    }
}
