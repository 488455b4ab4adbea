//! Requests and their replies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::array::Array;
use super::bytes;
use super::failure::Failure;
use crate::priority::Priority;

/// A task as two programs must agree on it.
///
/// The programs may be of different builds. The signature covers the names of the parameters, the types of the arguments and of the
/// result as they are written, their names, sizes and alignments as the compiler knows them, the codec, the version of this crate, and
/// the width of a pointer and the order of bytes of the machine; not the file or the line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskKey {
    /// The path of the module and the name of the function, `module::function`.
    pub name: String,
    /// A hash of all else.
    pub signature: u64,
}

/// Items of one task that travel together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The task.
    pub task: TaskKey,
    /// The number of items, at least 1.
    pub items: u32,
    /// The body is the only argument of the only item: bytes or text, without a frame.
    pub is_raw: bool,
    /// The arguments of all items, one behind the other, as the pool encodes them.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// Where the items stand in their submission.
    pub place: Place,
    /// The limits of each item.
    pub limits: Limits,
    /// That of their submission, among the requests of all pools.
    pub priority: Priority,
    /// The shared arrays that the arguments name.
    pub arrays: Vec<Array>,
}

/// Where items stand in their submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The index of the first item in its map; `None` if the items are calls.
    pub first: Option<u64>,
    /// The number of this attempt at them, from 1.
    pub attempt: u32,
    /// The seed of the submission, if it has one.
    pub seed: Option<u64>,
}

/// The limits of an item. They are counted where the item runs, from its start there, so the clocks of two machines need not agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The time that it may take.
    pub timeout: Option<Duration>,
    /// The time that it has to end by itself after that, or after it was cancelled.
    pub grace: Duration,
}

/// The outcomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// In the order of the items. Together they are of as many items as the request has.
    pub outcomes: Vec<Outcome>,
    /// The time that the items took where they ran, without the way there and back. The pool makes its chunks by it.
    pub ran: Duration,
}

/// The outcome of the next items of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The values of so many items, one behind the other, as the pool encodes them.
    Values {
        /// The number of items.
        items: u32,
        /// Their values.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// The value of one item that is bytes or text, without a frame.
    Raw(#[serde(with = "bytes")] Vec<u8>),
    /// The value of one item that names shared arrays.
    Naming {
        /// The value, as the pool encodes it.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
        /// The arrays. One of the request's own is there by its name and memory, too.
        arrays: Vec<Array>,
    },
    /// One item has no value.
    Failed(Failure),
    /// So many items have not been run, such as after a [`Stop`](crate::remote::Stop): the pool sends them again.
    NotRun(u32),
}

impl Outcome {
    /// The number of items that have this outcome.
    pub fn items(&self) -> u32 {
        match self {
            Outcome::Values { items, .. } | Outcome::NotRun(items) => *items,
            Outcome::Raw(_) | Outcome::Naming { .. } | Outcome::Failed(_) => 1,
        }
    }
}
