//! Attachments: descriptors of arrays, which travel beside a request or a reply, by the worker's socket.
//!
//! The bytes of a value hold no more of an array than its [`ArrayId`] and a range. Its descriptor goes once to each worker that
//! needs it, just before the first request that names it, and is mapped there until the host's last handle of the array is gone.
//! With a result it goes to the host in the same way.
//!
//! | file | runs in | is about |
//! |---|---|---|
//! | `scope` | both | the way from serde's code to the list of attachments, open only while a value of a task is written or read |
//! | `array` | host | an array that nobody writes, and the workers that are told of its end |
//! | `presence` | host | the pools that may have given an array to workers |
//! | `received` | host | the arrays of one result |
//! | `table` | worker | the arrays that the host has given it |
//! | `loan` | host | an array that workers write, and its owner's wait for all of them |

// Without arrays nothing is ever attached.
#![cfg_attr(not(feature = "arrays"), allow(dead_code))]

pub(crate) mod array;
mod attachment;
mod id;
pub(crate) mod loan;
pub(crate) mod presence;
pub(crate) mod received;
pub(crate) mod scope;
pub(crate) mod table;

pub(crate) use self::attachment::{ARRAYS_MAX, Attachment, Attachments, add};
pub(crate) use self::id::{ArrayId, Kind};
