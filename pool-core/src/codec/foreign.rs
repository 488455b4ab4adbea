//! Results with an error that serde does not know: `io::Error`, and the boxes of any error, such as `anyhow::Error`.
//!
//! Such an error travels as its text and those of its sources. The caller gets an error of the same type that says the same.

use std::error::Error as StdError;
use std::io;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::codec::check::Codec;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
use crate::codec::{CodecError, Decode, Encode, Probe, SerdeCodec};
pub use crate::error::told::Told;

/// An error as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parts {
    /// The system's number of it.
    os: Option<i32>,
    /// The place of an `io::ErrorKind` among [`KINDS`].
    kind: Option<u8>,
    /// Its text and those of its sources.
    texts: Vec<String>,
}

/// The sources that travel: a circle of them must come to an end.
const SOURCES_MAX: usize = 64;

fn texts(error: &dyn StdError) -> Vec<String> {
    std::iter::successors(Some(error), |error| (**error).source()).take(SOURCES_MAX).map(ToString::to_string).collect()
}

/// A way of errors to their parts and back.
pub trait Convert<E> {
    /// The parts.
    fn parts(error: &E) -> Parts;
    /// An error that says the same.
    fn error(parts: Parts) -> E;
}

/// Converts `io::Error`.
#[derive(Debug)]
pub struct Io;

impl Convert<io::Error> for Io {
    fn parts(error: &io::Error) -> Parts {
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).and_then(|place| u8::try_from(place).ok());
        let texts = match error.get_ref() {
            // An `io::Error` around another error shows the text and the sources of that one as its own.
            Some(inner) => texts(inner),
            // A kind alone: its text is made anew from the kind.
            None if error.to_string() == io::Error::from(error.kind()).to_string() => Vec::new(),
            // The standard library's own messages, such as "failed to fill whole buffer".
            None => vec![error.to_string()],
        };
        Parts { os: error.raw_os_error(), kind, texts }
    }

    fn error(parts: Parts) -> io::Error {
        // The system's text is the same in all processes, so the number suffices.
        if let Some(number) = parts.os {
            return io::Error::from_raw_os_error(number);
        }
        let kind = parts.kind.and_then(|place| KINDS.get(usize::from(place)).copied()).unwrap_or(io::ErrorKind::Other);
        // Without a text nothing is boxed, and `get_ref` stays `None` as in the worker.
        if parts.texts.is_empty() { kind.into() } else { io::Error::new(kind, Told::of(parts.texts)) }
    }
}

/// Converts errors that refer to any error and can be made of any: `anyhow::Error`, `eyre::Report`, `Box<dyn Error + Send + Sync>`.
#[derive(Debug)]
pub struct AnyError;

impl<E: Deref<Target = dyn StdError + Send + Sync> + From<Told>> Convert<E> for AnyError {
    fn parts(error: &E) -> Parts {
        Parts { os: None, kind: None, texts: texts(&**error) }
    }

    fn error(parts: Parts) -> E {
        Told::of(parts.texts).into()
    }
}

macro_rules! codecs {
    ($($picker:ident gives $codec:ident for $convert:ident in $values:ident;)*) => {$(
        /// The codec of such results.
        #[derive(Clone, Copy, Debug)]
        pub struct $codec;
        impl Codec for $codec {}

        /// Picks it, beside the picker of serde's types.
        pub trait $picker<'a> {
            /// The codec.
            fn __pick(&self) -> $codec {
                $codec
            }
        }
        impl<'a, T: Serialize + Deserialize<'a>, E> $picker<'a> for Probe<Result<T, E>> where $convert: Convert<E> {}

        impl<T: Serialize, E> Encode<Result<T, E>> for $codec
        where
            $convert: Convert<E>,
        {
            fn size(&self) -> Option<usize> {
                None
            }
            fn encode(&self, value: &Result<T, E>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                // By reference: a large value is not cloned for the sake of its error.
                $values.encode(&value.as_ref().map_err($convert::parts), out)
            }
        }

        impl<'a, T: Serialize + Deserialize<'a>, E> Decode<'a, Result<T, E>> for $codec
        where
            $convert: Convert<E>,
        {
            fn decode(&self, input: &mut Decoder<'a>) -> Result<Result<T, E>, CodecError> {
                let result: Result<T, Parts> = $values.decode(input)?;
                Ok(result.map_err($convert::error))
            }
        }
    )*};
}
codecs! {
    PickIoResult gives IoResultCodec for Io in SerdeCodec;
    PickAnyResult gives AnyResultCodec for AnyError in SerdeCodec;
}
#[cfg(feature = "cbor")]
use crate::codec::CborCodec;
#[cfg(feature = "cbor")]
codecs! {
    PickIoResultCbor gives IoResultCborCodec for Io in CborCodec;
    PickAnyResultCbor gives AnyResultCborCodec for AnyError in CborCodec;
}

/// The kinds that the standard library has given a name. One that it adds arrives as `Other`, with its text.
const KINDS: &[io::ErrorKind] = {
    use io::ErrorKind::*;
    &[
        NotFound,
        PermissionDenied,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        NetworkUnreachable,
        ConnectionAborted,
        NotConnected,
        AddrInUse,
        AddrNotAvailable,
        NetworkDown,
        BrokenPipe,
        AlreadyExists,
        WouldBlock,
        NotADirectory,
        IsADirectory,
        DirectoryNotEmpty,
        ReadOnlyFilesystem,
        StaleNetworkFileHandle,
        InvalidInput,
        InvalidData,
        TimedOut,
        WriteZero,
        StorageFull,
        NotSeekable,
        QuotaExceeded,
        FileTooLarge,
        ResourceBusy,
        ExecutableFileBusy,
        Deadlock,
        CrossesDevices,
        TooManyLinks,
        InvalidFilename,
        ArgumentListTooLong,
        Interrupted,
        Unsupported,
        UnexpectedEof,
        OutOfMemory,
        Other,
    ]
};
