//! Loom runs the pool's own protocols of waiting, argued in `src/host/waiting.md`, through every interleaving and every stale
//! value that the memory model allows, within the bounds given in `models`.
//!
//! The files under test are compiled a second time, into this crate, where `sync` and `futex` are twins made of loom's types. Their
//! surroundings (the engine's lock, the completion's inbox) are modelled in small. Each model also runs with one ordering
//! weakened or one step left out, and must fail then: otherwise it would prove nothing.

#![allow(dead_code, unreachable_pub, unnameable_types, reason = "parts of other crates, not all of them used here")]

#[path = "../../src/host/alarm.rs"]
mod alarm;
#[path = "../../../pool-ipc/src/doorbell.rs"]
mod doorbell;
#[path = "../../src/host/leadership.rs"]
mod leadership;
#[path = "../../src/host/rest.rs"]
mod rest;
#[path = "../../src/job/status.rs"]
mod status;

#[path = "../../../pool-ipc/tests/loom/futex.rs"]
mod futex;
mod models;
mod sync;
