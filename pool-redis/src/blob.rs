//! Payloads that are too large to travel with a job: they lie beside it in pieces, under the hash of their content.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Messages above this do not travel with a job. It is less than the shortest value that a server can be told to refuse
/// (`proto-max-bulk-len` is 1 MiB or more), with room for the words around it.
pub(crate) const MESSAGE_BYTES_MAX: usize = (1 << 20) - (16 << 10);
/// Bytes of each piece but the last: the server does nothing else while it takes one.
pub(crate) const PIECE_BYTES: usize = 512 << 10;
/// Pieces sent or fetched in one go.
pub(crate) const PIECES_TOGETHER: usize = 8;
/// More is refused.
pub(crate) const BLOB_BYTES_MAX: usize = 16 << 30;

/// The content of a blob: its hash (SHA-256), and how many bytes it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Blob {
    hash: [u8; 32],
    bytes: u64,
}

impl Blob {
    pub(crate) fn of(content: &[u8]) -> Blob {
        Blob { hash: Sha256::digest(content).into(), bytes: content.len() as u64 }
    }

    /// How many bytes it says that it has; `None` if these are more than any has.
    pub(crate) fn len(&self) -> Option<usize> {
        usize::try_from(self.bytes).ok().filter(|&bytes| bytes <= BLOB_BYTES_MAX)
    }

    pub(crate) fn is(&self, content: &[u8]) -> bool {
        *self == Blob::of(content)
    }
}

/// The number of pieces of so many bytes.
pub(crate) fn pieces(bytes: usize) -> usize {
    bytes.div_ceil(PIECE_BYTES)
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ":{}", self.bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_its_content_and_no_other() {
        let blob = Blob::of(b"abc");
        assert!(blob.to_string().starts_with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad:3"));
        assert!(blob.is(b"abc") && !blob.is(b"abd") && !blob.is(b"abc\0"));
        assert_eq!([0, 1, PIECE_BYTES, PIECE_BYTES + 1].map(pieces), [0, 1, 1, 2]);
        // Whatever another program says, no memory is asked for.
        assert_eq!(Blob { bytes: u64::MAX, ..blob }.len(), None);
    }
}
