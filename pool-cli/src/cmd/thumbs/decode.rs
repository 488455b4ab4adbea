//! The tasks: from a file to a thumbnail, in the format of the file's name.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader};
use pool_core::pool_task;

use super::report::Thumbnail;
use crate::render::reason;

/// The thumbnail of the image, or why there is none.
#[pool_task]
pub(super) fn thumbnail(path: &Path, size: u32) -> Result<Thumbnail, String> {
    let bytes = fs::read(path).map_err(|error| reason(&error))?;
    decode(bytes, path, size)
}

/// The same of a file of another machine: its content, and its name.
#[pool_task]
pub(super) fn thumbnail_of(bytes: Vec<u8>, name: &Path, size: u32) -> Result<Thumbnail, String> {
    decode(bytes, name, size)
}

fn decode(bytes: Vec<u8>, path: &Path, size: u32) -> Result<Thumbnail, String> {
    #[cfg(feature = "planted")]
    planted(&bytes);
    let format = ImageFormat::from_path(path).map_err(|error| error.to_string())?;
    // By its content: the name may lie.
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| reason(&error))?;
    // The worker has a limit, which holds for whatever a decoder does.
    reader.no_limits();
    let image = reader.decode().map_err(|error| error.to_string())?;
    // A small image stays as it is: a thumbnail shows no more than its source.
    let small = if image.width().max(image.height()) > size { image.thumbnail(size, size) } else { image };
    // A JPEG has neither transparency nor 16 bits.
    let small = if format == ImageFormat::Jpeg { small.into_rgb8().into() } else { small };
    let mut encoded = Cursor::new(Vec::new());
    small.write_to(&mut encoded, format).map_err(|error| error.to_string())?;
    Ok(Thumbnail { width: small.width(), height: small.height(), bytes: encoded.into_inner() })
}

/// A decoder with faults: the file says which.
#[cfg(feature = "planted")]
fn planted(bytes: &[u8]) {
    match bytes {
        b"planted panic" => panic!("index out of bounds, on purpose"),
        b"planted abort" => std::process::abort(),
        b"planted hang" => loop {
            std::thread::park();
        },
        _ => {}
    }
}
