//! Initializers: the results that they may have, and those that mean success.

use std::fmt::Display;

use crate::caller::outcome::decode;
use crate::codec::bytes::Bytes;
use crate::job::completion::Part;
use crate::task::Task;

/// The return types that an [initializer](crate::PoolBuilder::initializer) may have: `()`, or a `Result<(), E>` with an
/// error that can be shown.
#[diagnostic::on_unimplemented(
    message = "an initializer, preload or finalizer cannot return `{Self}`",
    label = "its result goes nowhere",
    note = "let it return `()`, or a `Result<(), E>` with an error that can be shown"
)]
pub trait Success {
    #[doc(hidden)]
    fn failure(self) -> Option<String>;
}

/// The error's text, with the sources of one that tells them in its alternate form, such as `anyhow::Error`.
pub fn with_sources(error: &impl Display) -> String {
    format!("{error:#}")
}

impl Success for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> Success for std::result::Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| with_sources(&error))
    }
}

/// Tells from the bytes of an initializer's result whether it succeeded; the error says why not.
pub(crate) fn check<T: Task<Output: Success>>(bytes: &[u8]) -> std::result::Result<(), String> {
    let mut outcome = Err("gave a result that cannot be decoded".to_owned());
    // By the way of all results, which survives bytes that make no sense and decoders that panic.
    let part = Part { first: 0, items: 1, raw: false, values: Ok(Bytes::copy_of(bytes)), origin: None };
    decode::<T>(part, false, &mut |_, result| {
        outcome = match result.map(Success::failure) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(format!("failed: {error}")),
            Err(error) => Err(error.to_string()),
        };
    });
    outcome
}
