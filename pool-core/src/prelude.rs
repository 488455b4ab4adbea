//! The names that a program with a pool needs: `use pool_core::prelude::*;`.

pub use std::time::Duration;

#[cfg(feature = "arrays")]
pub use crate::ChunkTask;
pub use crate::{
    AsyncResult, Error, ErrorKind, Imap, ImapUnordered, Pool, PoolBuilder, Priority, StartMethod, State, Task,
    current_worker, pool_state, pool_task,
};
