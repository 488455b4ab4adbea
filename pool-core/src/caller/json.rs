//! Calls with JSON: from a tree to a call, and from its outcome to an answer. The task is known by its entry alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::arguments::encode_with;
use super::outcome::{LARGE_BYTES, missing, panicked, undecodable, with_room};
use crate::attachments::scope::Resolving;
use crate::codec::bytes::Bytes;
use crate::codec::decoder::Decoder;
use crate::codec::json::{Answer, Json};
use crate::error::{Error, ErrorKind, Result};
use crate::job::blocks::Call;
use crate::job::completion::{Completion, Parts};
use crate::task::table::Entry;

/// The call of a task.
///
/// # Errors
///
/// `InvalidInput` if the task takes no JSON, or the arguments do not fit.
pub(crate) fn encode(entry: &'static Entry, args: &Json) -> Result<Call> {
    let Some(form) = &entry.json else {
        // The only tasks without it; their arguments are memory of the caller's.
        let text = "it writes parts of an array, which JSON cannot carry";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    };
    let args_size = (form.args_size)();
    let args = encode_with(args_size, None, |out| (form.encode)(args, out)).map_err(|error| {
        let text = format!("the arguments do not fit `{}({})`: {error}", entry.name(), entry.args());
        Error::new(ErrorKind::InvalidInput, text)
    })?;
    // Never raw, though an argument may be a text: the bytes are made here, so there is no memory to give away.
    Ok(Call { entry, args, args_size, raw: false })
}

/// The result of a call that is not decoded.
#[derive(Debug)]
pub(crate) struct Encoded {
    bytes: Bytes,
    raw: bool,
}

impl Encoded {
    /// The outcome of a call that is finished.
    pub(crate) fn of(completion: &Completion) -> Result<Encoded> {
        if let Some(bytes) = completion.short() {
            return Ok(Encoded { bytes, raw: false });
        }
        match completion.take() {
            Parts::One(part) => part.values.map(|bytes| Encoded { bytes, raw: part.raw }),
            _ => Err(missing(completion)),
        }
    }

    /// The result as JSON.
    ///
    /// # Errors
    ///
    /// The bytes are no result of the task, or its code panicked.
    pub(crate) fn answer(self, entry: &'static Entry) -> Result<Answer> {
        let Some(form) = &entry.json else { return Err(undecodable(entry, "its task takes no JSON", None)) };
        let Encoded { bytes, raw } = self;
        let decode = || {
            if raw {
                return (form.answer_raw)(bytes.into_vec());
            }
            let _resolving = bytes.received().map(Resolving::begin);
            Decoder::new(&bytes).item((form.output_size)()).and_then(form.answer)
        };
        // `Deserialize` and `Serialize` are code of the user's.
        let decode = || match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(answer) => answer.map_err(|error| undecodable(entry, &error.to_string(), None)),
            Err(payload) => Err(panicked(entry, payload, None)),
        };
        // As for a caller that knows the type: a large result is decoded by way of the stack.
        if form.output_bytes > LARGE_BYTES { with_room(entry, form.output_bytes, decode)? } else { decode() }
    }
}
