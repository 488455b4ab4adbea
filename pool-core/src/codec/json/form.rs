//! The functions by which a task is called with JSON: its entry of the dispatch table has them.

use super::{Answer, Json};
use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;

/// The functions of one task.
#[derive(Clone, Copy, Debug)]
pub struct JsonForm {
    /// Encodes the arguments.
    pub(crate) encode: fn(&Json, &mut Encoder<'_>) -> Result<(), CodecError>,
    /// The bytes of every set of arguments, if they are always as many.
    pub(crate) args_size: fn() -> Option<usize>,
    /// Decodes the result.
    pub(crate) answer: fn(Decoder<'_>) -> Result<Answer, CodecError>,
    /// Decodes the result that travelled as its memory.
    pub(crate) answer_raw: fn(Vec<u8>) -> Result<Answer, CodecError>,
    /// The encoded bytes of every result, if they are always as many.
    pub(crate) output_size: fn() -> Option<usize>,
    /// Bytes of a result in memory.
    pub(crate) output_bytes: usize,
}
