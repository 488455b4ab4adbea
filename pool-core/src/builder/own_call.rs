//! Calls of workers on their own behalf, encoded.

use crate::caller::arguments::encode_one;
use crate::caller::initializer::{Success, check};
use crate::engine::own_call::OwnCall;
use crate::error::Result;
use crate::task::{Task, TaskOptions};

/// The call of `T` that each worker makes on its own behalf.
pub(super) fn own_call<T: Task<Output: Success>>(
    role: &'static str,
    options: TaskOptions,
    args: &T::Args<'_>,
) -> Result<OwnCall> {
    // Sent again to each new worker, so it takes no part of the arena.
    let (args, attachments) = encode_one::<T>(args, None)?.into_parts();
    Ok(OwnCall {
        role,
        task: T::entry().index(),
        name: T::entry().path(),
        args: args.into(),
        attachments,
        timeout: options.timeout_ns().map_err(|error| error.of_task(T::entry().path()))?,
        check: |bytes| check::<T>(bytes),
    })
}
