//! Many machines for [`pool_core`]: the same annotated functions and the same `Pool`, over a Redis server.
//!
//! ```no_run
//! use pool_core::prelude::*;
//!
//! #[pool_task]
//! fn square(x: u64) -> u64 { x * x }
//!
//! fn main() -> pool_core::Result<()> {
//!     let url = "redis://10.0.0.7";
//!     if std::env::args().any(|argument| argument == "--agent") {
//!         return pool_redis::agent(url).run(); // on each machine that works
//!     }
//!     let pool = Pool::builder().backend(pool_redis::connect(url)?).build()?; // on the machine that asks
//!     assert_eq!(pool.map(square::Task, 0..5)?, [0, 1, 4, 9, 16]);
//!     Ok(())
//! }
//! ```
//!
//! A program moves to many machines by the one line `.backend(…)`. All methods of the pool, its handles, iterators, errors, retries,
//! priorities and back-pressure are the same code. On each machine an [`agent()`] runs the items in an ordinary pool, with its isolation,
//! limits, states and sandbox.
//!
//! # What is promised
//!
//! | if | then |
//! |---|---|
//! | an item runs | it may run more than once, since a host can be lost after it ran: **at least once** |
//! | a result comes | it counts **exactly once**: the server takes it from the agent that holds the job, and forgets the job in the same step |
//! | an agent is killed, or cut off | its lease ends (15 s, [`Agent::lease`]), and the job runs elsewhere |
//! | an agent stood still and wakes up | its results are refused, and it stops the jobs that it has lost |
//! | three agents lose a job | its items end in an error that says so ([`Connect::max_deliveries`]) |
//! | an item is cancelled, or the pool terminated | queued jobs are deleted, running ones stopped at once |
//! | the client dies | its jobs are stopped when its lease has ended ([`Connect::lease`]) |
//! | the server is away | client and agents connect again, ever more slowly; jobs run on meanwhile |
//! | the server lost its data | clients submit again what it forgot, under the same numbers; an agent that still runs a job keeps it |
//! | the server stays away | every handle ends in an error after [`Connect::engine_timeout`] |
//! | the server refuses (`OOM`, `BUSY`, `LOADING`, `READONLY`) | it is waited for, as if it were away |
//! | no agent has a task | its items end in an error after [`Connect::host_timeout`] that says how each agent differs |
//! | an agent gets SIGTERM | it takes no more, finishes, and leaves |
//!
//! Clocks of hosts may differ: all times are counted by the server or by one host alone.
//!
//! # Which program an agent must be
//!
//! Client and agent must agree on the tasks that they share, and on nothing else: a task is found by its name and by a hash of its
//! types ([`TaskKey`](pool_core::remote::TaskKey)). So they may be builds of different days, or different programs with a library in common. The hash does not see the fields of
//! a struct: give a struct whose fields change another name, or let its task travel as `codec = "cbor"`.
//!
//! # Security
//!
//! No code travels: an agent runs the tasks of its own program, and takes arguments for untrusted input, under the same limits as
//! from its own host. Who may write to Redis may run these tasks, so give clients and agents users of their own: `examples/users.acl`
//! has the rights that they need, and the tests run under them. `rediss://` (feature `tls`) encrypts. User and password belong into
//! `POOL_REDIS_USER`, and `POOL_REDIS_PASSWORD` or the file that `POOL_REDIS_PASSWORD_FILE` names.
//!
//! # The server
//!
//! Redis 7 or Valkey. It holds what is in flight and nothing else: at most as many requests of each client as the agents run at
//! once. All other items wait in the client's own queue. So it needs little memory and no persistence. Every key expires.
//!
//! Requests of all clients wait in one queue for each task, first come, first served. Since each client has at most as many there as the
//! agents run at once, clients share the agents evenly.

#![deny(unsafe_code)]

mod advertisement;
mod agent;
mod client;
mod commands;
mod connection;
mod keys;
mod protocol;
mod settings;
#[cfg(test)]
mod simulation;

pub use agent::{Agent, agent};
pub use client::{Connect, connect};
