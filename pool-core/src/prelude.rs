//! The names that a program with a pool needs: `use pool_core::prelude::*;`.

pub use std::time::Duration;

pub use crate::{
    AsyncResult, Error, ErrorKind, Imap, ImapUnordered, Pool, PoolBuilder, StartMethod, Task, current_worker, pool_task,
};
