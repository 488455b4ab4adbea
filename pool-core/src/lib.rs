//! A process pool: annotate a function, run it in worker processes.
//!
//! ```
//! use pool_core::prelude::*;
//!
//! #[pool_task]
//! fn square(x: u64) -> u64 { x * x }
//!
//! fn main() -> pool_core::Result<()> {
//!     let pool = Pool::new(4)?;
//!     assert_eq!(pool.apply(square::Task, 10)?, 100);
//!     assert_eq!(pool.map(square::Task, 0..4)?, [0, 1, 4, 9]);
//!     pool.close();
//!     pool.join()
//! }
//! ```
//!
//! It is Python's `multiprocessing.Pool` in Rust, with a promise: a task that crashes fails alone, with an error
//! that says why. The worker is replaced, and everything else goes on.
//!
//! Values of your own derive serde's traits. A task's own `Result` comes back within that of the pool, which says whether the item
//! came to its end at all:
//!
//! ```
//! use pool_core::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Page { text: String, first: usize }
//!
//! #[pool_task]
//! fn count(page: Page) -> Result<usize, String> {
//!     let text = page.text.get(page.first..).ok_or("it begins past its end")?;
//!     if text.is_empty() { std::process::abort() } // as a C library might
//!     Ok(text.split_whitespace().count())
//! }
//!
//! # fn main() -> pool_core::Result<()> {
//! let pool = Pool::builder().build()?; // as many workers as CPUs
//! let pages = [("a b", 0), ("a b", 9), ("", 0)].map(|(text, first)| Page { text: text.to_owned(), first });
//! for (index, result) in pool.map_results(count::Task.timeout(Duration::from_secs(2)), pages)?.into_iter().enumerate() {
//!     match result {
//!         Ok(Ok(words)) => assert_eq!((index, words), (0, 2)),
//!         Ok(Err(text)) => assert_eq!((index, text.as_str()), (1, "it begins past its end")), // said by the task
//!         Err(error) => assert_eq!((index, error.kind()), (2, ErrorKind::WorkerDied)),        // killed by SIGABRT
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! | for | call |
//! |---|---|
//! | one result, now | [`Pool::apply`] |
//! | one later: a handle that is also a future | [`Pool::apply_async`] |
//! | the results of many items, or the first error | [`Pool::map`] |
//! | a result or an error for each item | [`Pool::map_results`] |
//! | results as they come, of any number of items | [`Pool::imap`], [`Pool::imap_unordered`] |
//! | a time limit, retries, a priority | `count::Task.timeout(limit)`, see [`Task`] |
//! | workers that read a model or open a database once | [`PoolBuilder::state`], [`PoolBuilder::preload`] |
//!
//! The guides have a page for each question, such as how to write a call of `multiprocessing`, how errors come back, and how to
//! use a pool behind a web server: see [`guide`].
//!
//! # Concepts
//!
//! * A **task** is a function with [`#[pool_task]`](macro@pool_task). It stays an ordinary function;
//!   `the_function::Task` is passed to the pool. Arguments and results are types that implement serde's
//!   traits, see [Values](#values); `&str`, `&[u8]` and other references are lent.
//! * A **job** is one submission: one call ([`Pool::apply`], [`Pool::apply_async`]) or a map over many **items**
//!   ([`Pool::map`], [`Pool::imap`] and their like).
//! * A **worker** is a process. A small fork server makes it: this program's executable, started once more when the pool
//!   is made. Nothing of `main` runs in it, so there is nothing to set up, and statics have their initial values.
//!   [`StartMethod`] has other ways.
//!
//! # Values
//!
//! Bytes, text and plain numbers travel as they are. Every other value travels in the default format, which is that of
//! postcard: compact, fast, and without the names of fields. A value arrives as it was sent, or the call fails with
//! [`ErrorKind::Encode`] or [`ErrorKind::Decode`], and the error names the type and the field. The default format cannot
//! carry
//!
//! * a field that serde's `skip_serializing_if`, `skip_serializing` or `skip_deserializing` leaves out on one side
//!   only, or a variant that comes behind a skipped one. (`skip` leaves a field out on both sides: it arrives as its
//!   default.)
//! * types that ask the format for the kind of the next value: `untagged`, `tag`, `flatten`, `serde_json::Value`.
//! * a field with two names, `rename(serialize = "x", deserialize = "y")`, unless it also has `alias = "x"`: it looks
//!   like two fields. Two styles of one name (`rename_all`) are fine.
//! * implementations by hand that write another kind of value than they read.
//!
//! `#[pool_task(codec = "cbor")]` (feature `cbor`) is for these: there values describe themselves. It carries the first
//! two, numbers of every width, options in options and maps with any key, and lends text; it takes more bytes and
//! more time. A field that is skipped on one side only arrives as its default; one with `skip_serializing` must have
//! serde's `default` for that, or the call fails. Limits of serde itself remain: `u128` and `i128` within an untagged
//! enum, for instance, are an error.
//!
//! In neither format can a field take the place of another in silence. A *tuple* struct of which one field is skipped
//! in writing only and another in reading only writes as many fields as it reads, and they have no names (nor do the
//! names help if one field's `alias` is the name of another). So the first values of a type that may hide such a field
//! are encoded again after they have been decoded, and compared with the bytes that came, until each field has been
//! seen with two different contents; a difference is an [`ErrorKind::Decode`] error that names the type. The price:
//! such a type must be written as it was read, so one that changes its fields on the way (`deserialize_with =
//! "trimmed"`) is refused with the same words. Types without such a place, most by far, are never looked at.
//!
//! # Failures
//!
//! Every job ends exactly once, in a value or an [`Error`]. An error of an item of a map concerns this item only. A
//! pool that is dropped leaves no process, thread or descriptor behind, and neither does a host that is killed.
//!
//! # Reports
//!
//! A running item can tell its caller how far it is, or hand over a part of its result: [`report()`] in the task, and a
//! listener at the handle ([`AsyncResult::on_report`], [`Imap::on_report`]) of a submission with [`Task::reports`].
//!
//! # Other languages
//!
//! With the feature `json`, `jsonl::run` answers requests in JSON lines: shells and programs in other languages call the tasks of a
//! program by their names.
//!
//! # Threads
//!
//! The pool runs code of the user's in these places, and holds no lock meanwhile:
//!
//! | code | runs in |
//! |---|---|
//! | the task's function, `Deserialize` and `Drop` of its arguments, `Serialize` and `Drop` of its result; the initializer | the worker process, in its main thread, one item at a time |
//! | `Serialize` and `Drop` of arguments | the thread that submits, before [`Pool::apply_async`] and [`Pool::map_async`] return; for a lazy map the thread that iterates |
//! | the input iterator of a map, and its `Drop` | the thread that submits, before the map returns; for a lazy map the thread that iterates, within `next` or the stream's `poll_next` |
//! | `Deserialize` of a result | the thread that takes it: `get`, `map`, `next`, the poll of a future, a callback. A result that is a large array: a thread that lives as long as the decoding, while the caller waits. A result that is never taken is never decoded |
//! | callbacks ([`AsyncResult::on_done`]), and `Drop` of their captures | threads of the pool that run nothing else; they may block, panic, use the pool or drop it |
//! | listeners ([`AsyncResult::on_report`]), `Deserialize` of reports, and `Drop` of both | likewise, one report after the other |
//! | the listeners of [`PoolBuilder::on_event`] and [`PoolBuilder::on_output`], and their `Drop` | a thread for each that runs nothing else; it may block, panic, use the pool or drop it |
//! | a subscriber of `tracing`, for records that workers forward (`PoolBuilder::forward_tracing`) | likewise |
//! | [`Waker::wake`](std::task::Waker::wake) of a future's task | likewise |
//! | `Clone` of a waker, and `Drop` of one that the next poll replaces | the thread that polls |
//! | `Drop` of a waker or value in an [`AsyncResult`] that is dropped | the thread that drops it |
//!
//! Signals of the host arrive in its own threads: the pool's threads block all signals.
//!
//! # Limits
//!
//! * Linux, with `pidfd_open` (5.3) and glibc; the pool's code must be part of the executable, not of a shared library
//!   (except with [`StartMethod::Fork`]).
//! * A task of a library crate is known if the crate is named once in the program's code (`use that_crate as _;` is
//!   enough).
//! * A task finds the working directory, umask, environment and statics as an earlier task of that worker has left
//!   them, unless [`max_tasks_per_worker`](PoolBuilder::max_tasks_per_worker) is 1.
//! * Processes that a task starts die with its worker, unless they leave the worker's process group. Copies that a task
//!   or the host forks cannot use memory that is shared between the two.
//! * Values are encoded and copied: at memory speed for bytes and plain numbers, in the format of postcard or CBOR for
//!   everything else.
//! * Options, enums, sequences and maps may be nested 256 levels deep within a value, and 65,536 elements of its
//!   sequences may take no bytes. Past that, and past half of the stack that the thread has left, a value is an
//!   [`ErrorKind::Encode`] error where it is sent, or an [`ErrorKind::Decode`] error: neither takes unbounded time or
//!   stack.
//! * A result that is a large array is decoded with a stack that holds it, and then needs room in the caller's.

#![deny(unsafe_code)]
// Guides and references name the arrays. Without them such a name leads nowhere, and the text is of use all the same.
#![cfg_attr(not(feature = "arrays"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(not(target_os = "linux"))]
compile_error!("pool-core needs Linux: its workers share memory by sealed memfds, and their deaths are told by pidfds");

#[cfg(feature = "arrays")]
mod arrays;
mod builder;
mod cancel_on_drop;
#[cfg(feature = "arrays")]
mod chunk_task;
mod detailed;
mod error;
mod handle;
mod imap;
#[cfg(feature = "json")]
pub mod jsonl;
mod pool;
mod priority;
#[cfg(feature = "remote")]
pub mod remote;
mod report;
mod stats;
#[cfg(feature = "stream")]
mod stream;
mod submit;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
// Only text, so that it costs no build.
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod prelude;

// The thread that called.
mod caller;

// The host's own threads, and the lock that they and the callers share.
mod engine;
mod host;
mod job;
mod observe;
mod scheduler;

// Between the host and its workers.
mod attachments;
mod lane;
#[cfg(feature = "remote")]
mod wire;

// The fork server, and the worker processes.
mod launch;
mod worker;
mod worker_state;

// Functions and values.
mod codec;
mod task;

// The operating system, and units.
mod process;
mod seed;
mod sync;
mod units;

// For tests and fuzz targets: a host with workers that lie.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod hostile;

#[cfg(feature = "arrays")]
pub use crate::arrays::{SharedChunks, SharedSlice, SharedVec};
pub use crate::builder::PoolBuilder;
pub use crate::caller::initializer::Success;
pub use crate::cancel_on_drop::CancelOnDrop;
#[cfg(feature = "arrays")]
pub use crate::chunk_task::{ChunkTask, ConfiguredChunks};
#[cfg(feature = "stream")]
pub use crate::detailed::DetailedStream;
pub use crate::detailed::{Completed, Detailed};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::handle::AsyncResult;
pub use crate::handle::several::{AsCompleted, as_completed, wait_any};
pub use crate::imap::{Imap, ImapUnordered};
pub use crate::launch::StartMethod;
pub use crate::observe::event::{Event, JobKey};
pub use crate::observe::exit::ExitCause;
pub use crate::observe::insights::{Insights, Running, SlowItem, TaskInsights, WorkerExit, WorkerInsights};
pub use crate::observe::output::{LineEnd, OutputLine, OutputStream};
pub use crate::pool::{Pool, PoolState};
pub use crate::priority::Priority;
pub use crate::report::Report;
pub use crate::stats::Stats;
#[cfg(feature = "stream")]
pub use crate::stream::{ImapStream, ImapUnorderedStream};
pub use crate::submit::Submit;
pub use crate::task::state::State;
pub use crate::task::table::{Entry, tasks};
pub use crate::task::{Configured, Task};
pub use crate::worker::position::{CurrentItem, Worker, current_item, current_worker, is_cancelled};
pub use crate::worker::reports::report;
pub use crate::worker_state::WorkerState;
#[doc(inline)]
pub use pool_macros::{pool_state, pool_task};
