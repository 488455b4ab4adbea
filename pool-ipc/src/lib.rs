//! Bytes between two processes, over memory that both map and neither owns alone.
//!
//! The crate knows no task, no job, no fork and no serde. It knows two roles:
//!
//! * the **host**, which makes the memory and is trusted by the worker;
//! * the **worker**, which is not trusted by the host: it may die at any instruction, and it may scribble over
//!   every byte that it can write.
//!
//! A *lane* is two rings of bytes, one in each direction, each in a sealed memfd of its own. [`HostEnd`] and [`WorkerEnd`]
//! are its two ends. Every shared word can be written by the one process that writes it and only be read by the
//! other, whatever a worker tries, so it can damage only what it says itself, and the host checks all of that: the outcome of any
//! scribbling is a wrong payload, a late answer or an [`Error::Corrupt`], never undefined behaviour, a panic or an
//! endless loop.
//!
//! ```
//! use pool_ipc::{Header, HostEnd, Backoff, WorkerEnd};
//!
//! let (mut host, memory) = HostEnd::create(1 << 16, 1 << 16)?;
//! let mut worker = WorkerEnd::open(&memory)?;          // in truth: in the other process
//!
//! let sent = host.calls.send(&Header { kind: 7, ..Header::default() }, b"ping", 0);
//! assert!(sent.done);
//! host.wake_worker();
//!
//! worker.wait_call(Backoff::default());
//! let call = worker.calls.peek()?.expect("wait_call saw a record");
//! let mut payload = Vec::new();
//! worker.calls.copy(&call, &mut payload);
//! worker.calls.release(&call);
//! assert_eq!((call.header.kind, payload.as_slice()), (7, &b"ping"[..]));
//! # Ok::<(), pool_ipc::Error>(())
//! ```
//!
//! The crate does not restart, time out, encode or route anything, and it never repairs a lane: when a worker is
//! dead its host drains what was completely published and drops the memory.

#![deny(unsafe_code)]

// What two processes share.
mod layout;
mod note;
mod progress;
mod record;

// How they speak through it.
mod backoff;
mod consumer;
mod doorbell;
mod producer;
mod ring;

// The things made of it.
mod arena;
mod hub;
mod lane;

// What it stands on.
mod copy;
mod descriptors;
mod error;
mod memory;
mod region;
mod shared;
mod stream;
mod sync;
pub mod sys;

#[cfg(test)]
mod tests;

pub use arena::{Arena, ArenaWorker, LOCATION_BYTES, SEGMENT_BYTES, Segment, Written};
pub use backoff::Backoff;
pub use consumer::Consumer;
pub use copy::{append, copy};
pub use descriptors::Descriptors;
pub use error::Error;
pub use hub::{Hub, HubWorker, Sleeper, Watch};
pub use lane::{HostEnd, WorkerBell, WorkerEnd};
pub use layout::{RING_BYTES_MAX, RING_BYTES_MIN};
pub use note::NOTE_BYTES_MAX;
pub use producer::{Producer, Sent};
pub use progress::{ItemMarks, Progress, ProgressWriter};
pub use record::{HEADER_BYTES, Header, MORE, Record};
pub use stream::own_lines;
