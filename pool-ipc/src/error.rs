//! The errors of shared memory.

use std::{fmt, io};

/// A lane or hub could not be made or opened, or the peer has written a value that no honest peer writes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a call.
    System {
        /// The system call that failed.
        call: &'static str,
        /// The error that it returned.
        source: io::Error,
    },
    /// The memory would exceed `RLIMIT_FSIZE`. The kernel would kill the process for that (SIGXFSZ), so it is not tried.
    FileLimit {
        /// Bytes that the memory takes.
        needed: u64,
        /// Bytes that the limit leaves.
        limit: u64,
    },
    /// The machine has less memory left than an array takes, swap included.
    Memory {
        /// Bytes that the array takes.
        needed: u64,
        /// Bytes that are left.
        available: u64,
    },
    /// No address or file offset reaches so far.
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
    },
    /// The size of a ring is not a power of two from [`RING_BYTES_MIN`](crate::RING_BYTES_MIN) to
    /// [`RING_BYTES_MAX`](crate::RING_BYTES_MAX).
    RingSize {
        /// Bytes asked for or found.
        bytes: u64,
    },
    /// The file descriptor holds something else than a lane or hub.
    Magic {
        /// The first word found.
        found: u64,
        /// The word expected.
        expected: u64,
    },
    /// The memory was laid out by another version of this crate.
    Version {
        /// The version found.
        found: u32,
        /// The version of this crate.
        expected: u32,
    },
    /// The memory's size does not fit the ring sizes written in it.
    Size {
        /// Bytes found.
        found: u64,
        /// Bytes that the rings take.
        expected: u64,
    },
    /// A seal is missing: the memory could shrink under its readers, which kills them (SIGBUS), or be written by processes
    /// that may only read it.
    Seals {
        /// The seals found, as in `fcntl(F_GET_SEALS)`.
        found: i32,
        /// The seals that must be there.
        expected: i32,
    },
    /// The worker's end has been opened before. A ring has one producer and one consumer.
    AlreadyOpen,
    /// The peer has written a value that no honest peer writes. The lane is of no further use.
    Corrupt {
        /// Which shared word.
        word: &'static str,
        /// Its value.
        found: u64,
        /// The largest value allowed there; of an index that went back, the last good one.
        bound: u64,
    },
}

impl Error {
    pub(crate) fn system(call: &'static str, source: impl Into<io::Error>) -> Error {
        Error::System { call, source: source.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System { call, source } => write!(f, "{call} failed: {source}"),
            Error::FileLimit { needed, limit } => write!(
                f,
                "shared memory of {needed} bytes is past the file size limit of {limit} bytes (RLIMIT_FSIZE, ulimit -f)"
            ),
            Error::Memory { needed, available } => {
                write!(f, "shared memory of {needed} bytes where the machine has {available} bytes left")
            }
            Error::TooLarge { bytes } => write!(f, "shared memory of {bytes} bytes is past every address"),
            Error::RingSize { bytes } => {
                write!(f, "a ring of {bytes} bytes is not a power of two from 4096 bytes to 1 GiB")
            }
            Error::Magic { found, expected } => {
                write!(f, "not the expected shared memory: it begins with {found:#018x} instead of {expected:#018x}")
            }
            Error::Version { found, expected } => {
                write!(f, "shared memory of layout version {found}, this program speaks version {expected}")
            }
            Error::Size { found, expected } => {
                write!(f, "shared memory of {found} bytes where {expected} bytes were expected")
            }
            Error::Seals { found, expected } => {
                write!(f, "shared memory has seals {found:#x}, at least {expected:#x} are required")
            }
            Error::AlreadyOpen => f.write_str("the worker's end of this lane is open already"),
            Error::Corrupt { word, found, bound } => {
                write!(f, "the peer wrote {found} into {word}, where the bound is {bound}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
