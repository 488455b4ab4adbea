//! Arguments on their way out: one call's, as bytes.

use crate::attachments::Attachments;
use crate::attachments::scope::Side;
use crate::codec::CodecError;
use crate::codec::bytes::{Bytes, INLINE};
use crate::codec::encoder::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::task::table::Entry;
use crate::task::{Task, args_may_be_plain};

/// Encodes the arguments of a single call. Large ones go to the host's arena, where workers read them without a further copy.
#[inline]
pub(crate) fn encode_one<T: Task>(args: &T::Args<'_>, host: Option<&Host>) -> Result<Bytes> {
    if const { args_may_be_plain::<T>() }
        && let Some(size @ ..=INLINE) = T::args_size()
    {
        // A number or two: encoded at once into the value that travels, without a buffer between.
        let mut bytes = [0; INLINE];
        let encoded = Encoder::in_place(&mut bytes[..size], |out| T::encode_args(args, out));
        return encoded.map(|()| Bytes::Inline(bytes, size as u8)).map_err(|error| encode_error::<T>(&error));
    }
    encode_with(T::args_size(), host, |out| T::encode_args(args, out)).map_err(|error| encode_error::<T>(&error))
}

/// Encodes the arguments of a single call, of `size` bytes if that is known.
#[inline]
pub(super) fn encode_with(
    size: Option<usize>,
    host: Option<&Host>,
    encode: impl FnOnce(&mut Encoder<'_>) -> std::result::Result<(), CodecError>,
) -> std::result::Result<Bytes, CodecError> {
    // On the stack: most arguments are shorter, and then the call allocates nothing for them.
    let mut short = [0; 64];
    let mut list = Attachments::new();
    let mut out = Encoder::with_arena(&mut short, host.and_then(Host::arena)).naming_alone(&mut list, Side::Arguments);
    Ok(match out.item(size, encode)? {
        None => {
            let used = out.used();
            Bytes::copy_of(&short[..used])
        }
        Some(spill) => Bytes::of_spill(spill, list),
    })
}

/// Encodes the arguments of a single call. True if they travel raw: bytes or text of some length, as the only argument,
/// go as the memory that they are in, without a copy.
#[inline]
pub(crate) fn encode_owned<T: Task>(args: T::Args<'_>, host: Option<&Host>) -> Result<(Bytes, bool)> {
    // Arrays are encoded where they lie: each function that takes one by value may take a copy's worth of stack.
    if size_of::<T::Args<'_>>() > LARGE_ARGS_BYTES {
        return Ok((encode_one::<T>(&args, host)?, false));
    }
    give_away_or_encode::<T>(args, host)
}

/// Arguments of more bytes than this are no vector or text, which alone travel as their memory.
const LARGE_ARGS_BYTES: usize = 256;

#[inline]
fn give_away_or_encode<T: Task>(args: T::Args<'_>, host: Option<&Host>) -> Result<(Bytes, bool)> {
    match T::args_into_bytes(args) {
        Ok(bytes) => Ok((Bytes::Heap(bytes), true)),
        // Given back: only the codec knows whether it can take the memory.
        Err(args) => Ok((encode_one::<T>(&args, host)?, false)),
    }
}

#[cold]
pub(crate) fn encode_error<T: Task>(error: &CodecError) -> Error {
    unencodable(T::entry(), error)
}

/// The same for all tasks.
#[cold]
#[inline(never)]
pub(crate) fn unencodable(entry: &Entry, error: &CodecError) -> Error {
    let text = format!("the arguments `{}` could not be encoded: {error}", entry.args());
    Error::new(ErrorKind::Encode, text).of_task(entry.path())
}
