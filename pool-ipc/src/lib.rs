//! Bytes between two processes, over memory that both map and neither owns alone.
//!
//! The crate knows no task, no job, no fork and no serde. It knows two roles:
//!
//! * the **host** creates the memory, and the worker trusts it;
//! * the **worker** is not trusted by the host: it may die at any instruction, and it may overwrite every byte that it can
//!   write.
//!
//! A *lane* is two rings of bytes, one in each direction, each in a sealed memfd of its own. [`HostEnd`] and [`WorkerEnd`]
//! are its two ends. Each shared word has one process that writes it, and the kernel lets the other only read it. So a
//! worker can damage only its own words, and the host checks all of these: a worker that overwrites its memory causes
//! a wrong payload, a late answer or an [`Error::Corrupt`], but never undefined behaviour, a panic or an endless loop.
//!
//! ```
//! use pool_ipc::{Header, HostEnd, Backoff, WorkerEnd};
//!
//! let (mut host, memory) = HostEnd::create(1 << 16, 1 << 16)?;
//! let mut worker = WorkerEnd::open(&memory)?;          // the other process does this
//!
//! let sent = host.requests.send(&Header { kind: 7, ..Header::default() }, b"ping", 0);
//! assert!(sent.done);
//! host.wake_worker();
//!
//! worker.wait_request(Backoff::default());
//! let call = worker.requests.peek()?.expect("wait_request saw a record");
//! let mut payload = Vec::new();
//! worker.requests.copy(&call, &mut payload);
//! worker.requests.release(&call);
//! assert_eq!((call.header.kind, payload.as_slice()), (7, &b"ping"[..]));
//! # Ok::<(), pool_ipc::Error>(())
//! ```
//!
//! The crate does not restart, time out, encode or route anything, and it never repairs a lane: when a worker is dead, its
//! host takes the records that were published and drops the memory.

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("pool-ipc needs Linux: it shares memory by sealed memfds and wakes by futexes");

#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
compile_error!("pool-ipc and pool-core need glibc: build for a target that ends in `-linux-gnu`, not for musl");

// The layout of the memory that two processes share.
mod last_words;
mod layout;
mod orders;
mod progress;
mod record;

// The protocols that run in it.
mod backoff;
mod consumer;
mod doorbell;
mod producer;
mod ring;

// The objects that the host and the workers hold.
mod arena;
mod array;
mod hub;
mod lane;

// Memory, system calls and errors underneath.
mod copy;
mod descriptors;
mod error;
mod extents;
mod futex;
mod memory;
mod region;
mod shared;
mod stream;
mod sync;
pub mod sys;

#[cfg(test)]
mod tests;

pub use arena::{Arena, ArenaWorker, InUse, LOCATION_BYTES, SEGMENT_BYTES, Segment, Written};
pub use array::{ArrayBuffer, ArrayWindow, FrozenArray};
pub use backoff::Backoff;
pub use consumer::Consumer;
pub use copy::{append, copy};
pub use descriptors::Descriptors;
pub use error::Error;
pub use hub::{Hub, HubWorker, Sleeper, Watch};
pub use lane::{HostEnd, WorkerBell, WorkerEnd};
pub use last_words::LAST_WORDS_BYTES_MAX;
pub use layout::{RING_BYTES_MAX, RING_BYTES_MIN};
pub use orders::{Flow, Order, OrderReader};
pub use producer::{Producer, Sent};
pub use progress::{ItemMarks, Progress, ProgressWriter};
pub use record::{HEADER_BYTES, Header, MORE, Record};
pub use stream::own_lines;
