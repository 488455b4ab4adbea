//! Loom runs the crate's own ring, doorbell and progress words through every interleaving and every stale value that
//! the memory model allows, within the bounds given at each model.
//!
//! The files under test are compiled a second time, into this crate, where `sync`, `futex` and `memory` are twins made of
//! loom's types. So no flag is needed to run the models, and the shipped crate has no trace of loom. Each model also runs with
//! one ordering weakened, and must fail then: otherwise it would prove nothing.
//!
//! Loom does not see the kernel (its futex is modelled by a mutex and a condition variable), signals, death of a
//! process in the middle, the mapping, and more than the few records given here. That is left to the tests with two
//! processes.

#![allow(dead_code, unreachable_pub, unnameable_types, reason = "parts of another crate, not all of them used here")]

#[path = "../../src/consumer.rs"]
mod consumer;
#[path = "../../src/copy.rs"]
mod copy;
#[path = "../../src/doorbell.rs"]
mod doorbell;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/last_words.rs"]
mod last_words;
#[path = "../../src/orders.rs"]
mod orders;
#[path = "../../src/producer.rs"]
mod producer;
#[path = "../../src/progress.rs"]
mod progress;
#[path = "../../src/record.rs"]
mod record;
#[path = "../../src/ring.rs"]
mod ring;
#[path = "../../src/shared.rs"]
mod shared;
#[path = "../../src/stream.rs"]
mod stream;

mod futex;
mod memory;
mod models;
mod sync;
